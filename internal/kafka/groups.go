package kafka

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// groupAPIs are the APIs about groups and their offsets.
func groupAPIs() []API {
	return []API{
		offsetCommitAPI,
		offsetFetchAPI,
		findCoordinatorAPI,
		joinGroupAPI,
		heartbeatAPI,
		leaveGroupAPI,
		syncGroupAPI,
		describeGroupsAPI,
		listGroupsAPI,
		deleteGroupsAPI,
		offsetDeleteAPI,
	}
}

// awaited is a request that the group coordinator has decided on. The answer may
// wait: for what it tells to be durable, or for the other members of a group.
type awaited[T any] struct {
	call   group.Call[T]
	answer func(v T, err error) kmsg.Response
	// hurry, once closed, ends the wait with NOT_COORDINATOR: members whose join
	// may wait for minutes look for their coordinator elsewhere. nil never is.
	hurry <-chan struct{}
}

// await is the Pending of call, or of the error with which it was refused.
func await[T any](call group.Call[T], err error, answer func(v T, err error) kmsg.Response) Pending {
	if err != nil {
		var none T
		return Answer(answer(none, err))
	}
	return &awaited[T]{call: call, answer: answer}
}

// awaitMembers is await for a call that waits for what other members do.
func awaitMembers[T any](r *Request, call group.Call[T], err error, answer func(v T, err error) kmsg.Response) Pending {
	p := await(call, err, answer)
	if w, ok := p.(*awaited[T]); ok {
		w.hurry = r.Conn.Draining()
	}
	return p
}

// Wait waits for the coordinator's answer.
func (w *awaited[T]) Wait(ctx context.Context) (Response, error) {
	v, err := w.wait(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return Message(w.answer(v, err)), nil
}

func (w *awaited[T]) wait(ctx context.Context) (T, error) {
	if w.hurry == nil {
		return w.call.Wait(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-w.hurry:
			cancel(karst.NotCoordinator.Err())
		case <-ctx.Done():
		}
	}()
	v, err := w.call.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-ended
	return v, err
}

// coordinatorCode is the Kafka error code of what a coordinator answers: errors
// of the log below it are none that clients of a coordinator know, so that they
// become what makes them look for it again, as in Kafka.
func (r *Request) coordinatorCode(err error) int16 {
	code := Code(err)
	switch code {
	case kerr.UnknownTopicOrPartition.Code, kerr.NotEnoughReplicas.Code, kerr.RequestTimedOut.Code:
		code = kerr.CoordinatorNotAvailable.Code
	case kerr.NotLeaderForPartition.Code, kerr.KafkaStorageError.Code:
		code = kerr.NotCoordinator.Code
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code:
		code = kerr.UnknownServerError.Code
	}
	r.Note(code)
	return code
}

// groupClient is the client of r as its group shows it.
func (r *Request) groupClient() group.Client {
	return group.Client{ID: r.ClientID, Host: javaHost(r.Conn.RemoteAddr())}
}

// javaHost is a client's address as Java shows it: "/127.0.0.1", and for IPv6 all
// eight groups without leading zeros.
func javaHost(addr net.Addr) string {
	h, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		h = addr.String()
	}
	ip, err := netip.ParseAddr(h)
	if err != nil || ip.Unmap().Is4() {
		if err == nil {
			h = ip.Unmap().String()
		}
		return "/" + h
	}
	groups := strings.Split(ip.WithZone("").StringExpanded(), ":")
	for i, g := range groups {
		if groups[i] = strings.TrimLeft(g, "0"); groups[i] == "" {
			groups[i] = "0"
		}
	}
	h = "/" + strings.Join(groups, ":")
	if z := ip.Zone(); z != "" {
		h += "%" + z
	}
	return h
}

// errNoGroupID refuses an empty group id, where Kafka does.
func errNoGroupID(id string) error {
	if id == "" {
		return karst.InvalidGroupID.Errorf("The group id is empty.")
	}
	return nil
}

// answerSize bounds what a request of a few bytes can ask for: the same large
// group, or the same offset with long metadata, as often as its frame can name it.
type answerSize int64

const (
	answerMax        = 64 << 20
	answerEntryBytes = 64 // about what an entry has besides its metadata
)

// add counts an entry with so many bytes of metadata.
func (s *answerSize) add(n int) { *s += answerSize(n + answerEntryBytes) }

// check refuses an answer that is too large. There is no error that a client would
// understand; a group whose own answer is too large cannot have been made by one.
func (s *answerSize) check() error {
	if *s > answerMax {
		return refused("the answer about groups is larger than %d bytes", answerMax)
	}
	return nil
}
