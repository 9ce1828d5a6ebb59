package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures (key 57), versions 0–2.
//
//	v1 upgrade types, validateOnly (KIP-778)   v2 one error for all
//
// All features of a request are updated, or none is.
//
// Difference: levels are those of the binary; a feature "updated" to the level it
// has is fine, any other level is INVALID_UPDATE_VERSION.
var updateFeaturesAPI = API{Key: int16(kmsg.UpdateFeatures), Max: 2, apply: (*Server).updateFeatures, frameMax: 1 << 20}

// Types of updates (KIP-778).
const (
	upgrade         = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

func (s *Server) updateFeatures(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.UpdateFeaturesRequest)
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.Version = r.Version
	for _, u := range req.FeatureUpdates {
		if r.Version == 0 {
			u.UpgradeType = upgrade
			if u.AllowDowngrade {
				u.UpgradeType = safeDowngrade
			}
		}
		if why := updateFeature(features(), u); why != "" {
			resp.ErrorCode = kerr.InvalidUpdateVersion.Code
			resp.ErrorMessage = new(fmt.Sprintf(
				"The update failed for all features since the following feature had an error: Invalid update version %d for feature %s. %s",
				u.MaxVersionLevel, u.Feature, why))
			r.Note(resp.ErrorCode)
			return Answer(resp), nil
		}
	}
	for _, u := range req.FeatureUpdates {
		if r.Version < 2 {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature, ErrorMessage: new("NONE")})
		}
	}
	return Answer(resp), nil
}

// updateFeature says why a feature cannot be updated; "" if it has that level.
func updateFeature(all []feature, u kmsg.UpdateFeaturesRequestFeatureUpdate) string {
	at := slices.IndexFunc(all, func(f feature) bool { return f.name == u.Feature })
	switch {
	case u.UpgradeType < upgrade || u.UpgradeType > unsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case u.MaxVersionLevel < 0:
		return "A feature version cannot be less than 0."
	case at < 0:
		return "This broker does not support this feature."
	case u.MaxVersionLevel < all[at].min || u.MaxVersionLevel > all[at].max:
		return "This broker supports other versions only."
	case u.MaxVersionLevel < all[at].level && u.UpgradeType == upgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case u.MaxVersionLevel != all[at].level:
		return "Its version is that of the binary."
	}
	return ""
}
