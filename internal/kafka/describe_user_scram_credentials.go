package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials (key 50), version 0.
//
// No user has credentials: RESOURCE_NOT_FOUND for each that is named,
// DUPLICATE_RESOURCE for one named twice; none and null are all users.
//
// Difference: there are no credentials yet, whatever was asked of
// AlterUserScramCredentials.
var describeUserScramCredentialsAPI = API{
	Key: int16(kmsg.DescribeUserSCRAMCredentials), Max: 0, apply: (*Server).describeUserScramCredentials, frameMax: 1 << 20,
}

func (s *Server) describeUserScramCredentials(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	resp.Version, resp.ErrorMessage = r.Version, new("")
	twice := repeated(req.Users, func(u kmsg.DescribeUserSCRAMCredentialsRequestUser) string { return u.Name })
	answered := map[string]bool{}
	for _, u := range req.Users {
		if answered[u.Name] {
			continue
		}
		answered[u.Name] = true
		a := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		a.User, a.ErrorCode = u.Name, kerr.ResourceNotFound.Code
		a.ErrorMessage = new("Attempt to describe a user credential that does not exist: " + u.Name)
		if twice[u.Name] {
			a.ErrorCode = kerr.DuplicateResource.Code
			a.ErrorMessage = new("Cannot describe SCRAM credentials for the same user twice in a single request: " + u.Name)
		}
		r.Note(a.ErrorCode)
		resp.Results = append(resp.Results, a)
	}
	return Answer(resp), nil
}
