package sim

import "fmt"

// Kind is a way in which a history, or the bucket after it, is wrong.
type Kind uint8

// The kinds. In brackets: the rows of what broke in systems like this one.
const (
	LostWrite   Kind = iota // acknowledged, and not in the log at the end (R4)
	Duplicate               // in the log twice
	Reorder                 // two records of a producer in another order than sent, or one is missing between them
	WrongOffset             // acknowledged at another offset than it is read at (B3, R3)
	Changed                 // an offset was read with two contents
	Vanished                // read once, and not in the log at the end
	Backwards               // a watermark or a log start went back (R15)
	Stale                   // a fetch did not show what was acknowledged before it was sent (O9)
	Skipped                 // a fetch left out an offset (O16)
	Undeleted               // deleted for certain, and still readable
	Overdeleted             // gone, and nobody asked for that
	Refused                 // answered with a definite error, and in the log (R6)
	Corrupt                 // wrong bytes
	Unexpected              // an answer that nothing excuses (R1)
	Stuck                   // no progress after everything was healed (B1, B2)
	TopicLost               // created for certain, never deleted, and gone
	TopicBack               // deleted for certain, and there
	ObjectLost              // referenced, and not in the bucket
	ObjectBad               // referenced, and damaged
	Garbage                 // deletable, and in the bucket after sweeps (O2, O6)
	Leak                    // counted memory is held after the end
	Older                   // a committed offset was read after a newer one was acknowledged (section 4)
	OldMember               // an answer to a member of a generation that was over (R7)
	Split                   // two assignments in one generation, or a partition that two members have
	kindCount
)

func (k Kind) String() string {
	return [...]string{
		"lost write", "duplicate", "reorder", "wrong offset", "changed", "vanished", "backwards", "stale", "skipped",
		"undeleted", "overdeleted", "refused yet there", "corrupt", "unexpected", "stuck", "topic lost", "topic back",
		"object lost", "object damaged", "garbage", "leak",
		"older offset", "old member", "split group",
	}[k]
}

// Finding is one thing that may never be.
type Finding struct {
	Kind Kind
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Kind, f.Text) }
