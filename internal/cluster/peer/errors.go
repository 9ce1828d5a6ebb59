package peer

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
)

// Refusal is an error for another broker; nil for nil. What is no *karst.Error
// leaves the outcome unknown.
func Refusal(err error) *pb.Error {
	if err == nil {
		return nil
	}
	if k, ok := errors.AsType[*karst.Error](err); ok {
		return &pb.Error{Code: int32(k.Code), Message: k.Message}
	}
	return &pb.Error{Code: int32(karst.TimedOut), Message: err.Error()}
}

// Err is the error that another broker refused with.
func Err(e *pb.Error) error {
	if e == nil {
		return nil
	}
	for _, c := range karst.Codes() {
		if int32(c) == e.Code {
			return c.Errorf("%s", e.Message)
		}
	}
	return karst.Unknown.Errorf("%s", e.Message)
}

// Outcome is the error of a call: what the other broker refused with, that it is
// an older one that does not know the call, or that it was not reached. Whether the
// request happened is not known then, unless nobody listened.
func Outcome(ctx context.Context, err error, refusal *pb.Error) error {
	switch {
	case err == nil:
		return Err(refusal)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case Refused(err) || Stranger(err):
		return karst.NotController.Errorf("the controller is not reached: %v", err)
	case connect.CodeOf(err) == connect.CodeUnimplemented:
		return karst.UnsupportedVersion.Errorf("the controller runs an older Karst, which cannot do that: run a newer Karst there (%v)", err)
	default:
		return karst.TimedOut.Errorf("the controller was asked, and its answer did not come: %v", err)
	}
}
