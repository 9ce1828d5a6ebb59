package controller

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Bounds of what configs may take of the image. Kafka has the first one only.
const (
	configValueMax = math.MaxInt16 // bytes of one value
	configsMax     = 1000          // explicit configs of one resource
	configBytesMax = 1 << 20       // and their bytes, names and values
	namedMax       = 100_000       // groups and subscriptions with configs
	namedBytesMax  = 16 << 10      // of one of them, its name included
)

// ConfigOp says what a ConfigChange does.
type ConfigOp uint8

// The operations.
const (
	ConfigSet      ConfigOp = iota // the value; nil removes the config
	ConfigAppend                   // to a list, what it does not have yet
	ConfigSubtract                 // from a list
)

// String is the operation as Kafka's messages call it.
func (o ConfigOp) String() string {
	switch o {
	case ConfigAppend:
		return "append"
	case ConfigSubtract:
		return "subtract"
	default:
		return "set"
	}
}

// ConfigChange changes one config.
type ConfigChange struct {
	Name  string
	Value *string // nil: remove
	Op    ConfigOp
}

// SetConfigs changes the explicit configs of a resource. With replace, those not
// mentioned are removed (AlterConfigs); otherwise they stay
// (IncrementalAlterConfigs). All changes are made or none.
func (c *Controller) SetConfigs(ctx context.Context, r metadata.Resource, changes []ConfigChange, replace, validateOnly bool) error {
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		now, ok := img.ConfigsOf(r) // Kafka validates what is to be set of nothing, too
		next, err := c.changed(r, now, changes, replace)
		if err != nil {
			return nil, err
		}
		if err := c.cfg.ValidateConfigs(img, r, next); err != nil {
			return nil, err
		}
		if !ok {
			return nil, karst.UnknownTopicID.Errorf("no topic of id %s", r.Topic)
		}
		named := r.Group != "" || r.ClientMetrics != ""
		switch {
		case len(next) > configsMax && len(next) > len(now):
			return nil, karst.PolicyViolation.Errorf("A resource may have %d configs at most.", configsMax)
		case bytesOf(next) > configBytesMax && bytesOf(next) > bytesOf(now):
			return nil, karst.PolicyViolation.Errorf("The configs of a resource may have %d bytes at most.", configBytesMax)
		case named && len(next) > 0 && len(r.Group)+len(r.ClientMetrics)+bytesOf(next) > namedBytesMax:
			return nil, karst.PolicyViolation.Errorf("The name and the configs of a group or subscription may have %d bytes at most.", namedBytesMax)
		case named && len(now) == 0 && len(next) > 0 && img.NamedConfigs() >= namedMax:
			return nil, karst.PolicyViolation.Errorf("%d groups and subscriptions may have configs at most.", namedMax)
		}
		if validateOnly || maps.Equal(now, next) {
			return nil, nil
		}
		return []metadata.Record{&metadata.SetConfigs{Resource: r, Configs: next}}, nil
	})
}

func valueTooLong() error {
	return karst.InvalidConfig.Errorf("The configuration value cannot be added because it exceeds the maximum value size of %d bytes.", configValueMax)
}

func bytesOf(configs map[string]string) (n int) {
	for name, v := range configs {
		n += len(name) + len(v)
	}
	return n
}

// changed are explicit configs after the changes.
func (c *Controller) changed(r metadata.Resource, now map[string]string, changes []ConfigChange, replace bool) (map[string]string, error) {
	next := map[string]string{}
	if !replace {
		maps.Copy(next, now)
	}
	for _, ch := range changes {
		v := ch.Value
		if ch.Op != ConfigSet {
			list, err := c.changeList(r, now, ch)
			if err != nil {
				return nil, err
			}
			v = &list
		}
		switch {
		case v == nil:
			delete(next, ch.Name)
		case len(*v) > configValueMax:
			return nil, valueTooLong()
		default:
			next[ch.Name] = *v
		}
	}
	return next, nil
}

// changeList appends to a list or subtracts from it, as Kafka does: from the
// default if none is set, element by element.
func (c *Controller) changeList(r metadata.Resource, now map[string]string, ch ConfigChange) (string, error) {
	def, err := c.cfg.ListConfig(r, ch.Name, ch.Op.String())
	if err != nil {
		return "", err
	}
	list, ok := now[ch.Name]
	if !ok {
		list = def
	}
	var elements []string
	for e := range strings.SplitSeq(list, ",") {
		if e != "" {
			elements = append(elements, e)
		}
	}
	if ch.Value == nil {
		return strings.Join(elements, ","), nil
	}
	for e := range strings.SplitSeq(*ch.Value, ",") {
		at := slices.Index(elements, e)
		switch {
		case ch.Op == ConfigSubtract && at >= 0:
			elements = slices.Delete(elements, at, at+1)
		case ch.Op == ConfigAppend && at < 0:
			elements = append(elements, e)
		}
	}
	return strings.Join(elements, ","), nil
}
