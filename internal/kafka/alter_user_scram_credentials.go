package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterUserScramCredentials (key 51), version 0.
//
// Checked as in Kafka, one answer for each user (KIP-554). Deleting what does not
// exist is RESOURCE_NOT_FOUND.
//
// Difference: nobody is authenticated yet, and credentials that would not be asked
// for are not kept: a valid one is refused with UNSUPPORTED_VERSION.
var alterUserScramCredentialsAPI = API{
	Key: int16(kmsg.AlterUserSCRAMCredentials), Max: 0, apply: (*Server).alterUserScramCredentials, frameMax: 1 << 20,
}

// Bounds of KIP-554.
const (
	scramMechanisms    = 2 // SCRAM-SHA-256 is 1, SCRAM-SHA-512 is 2
	scramIterationsMin = 4096
	scramIterationsMax = 16384
)

func (s *Server) alterUserScramCredentials(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterUserSCRAMCredentialsRequest)
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	resp.Version = r.Version
	answered := map[string]bool{}
	// Nothing succeeds, and the first failure of a user is the user's answer.
	answer := func(user string, code int16, message string) {
		if answered[user] {
			return
		}
		answered[user] = true
		a := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		a.User, a.ErrorCode, a.ErrorMessage = user, code, &message
		r.Note(code)
		resp.Results = append(resp.Results, a)
	}
	refuse := func(user string, mechanism int8) {
		switch {
		case user == "":
			answer(user, kerr.UnacceptableCredential.Code, "Username must not be empty")
		case mechanism < 1 || mechanism > scramMechanisms:
			answer(user, kerr.UnsupportedSaslMechanism.Code, "Unknown SCRAM mechanism")
		}
	}
	for _, d := range req.Deletions {
		refuse(d.Name, d.Mechanism)
		answer(d.Name, kerr.ResourceNotFound.Code, "Attempt to delete a user credential that does not exist")
	}
	twice := repeated(req.Upsertions, func(u kmsg.AlterUserSCRAMCredentialsRequestUpsertion) string { return u.Name })
	for _, u := range req.Upsertions {
		refuse(u.Name, u.Mechanism)
		switch {
		case u.Iterations < scramIterationsMin:
			answer(u.Name, kerr.UnacceptableCredential.Code, "Too few iterations")
		case u.Iterations > scramIterationsMax:
			answer(u.Name, kerr.UnacceptableCredential.Code, "Too many iterations")
		case twice[u.Name]:
			answer(u.Name, kerr.DuplicateResource.Code, "A user credential cannot be altered twice in the same request")
		}
		answer(u.Name, kerr.UnsupportedVersion.Code, "This broker authenticates nobody yet, so it keeps no credentials.")
	}
	return Answer(resp), nil
}
