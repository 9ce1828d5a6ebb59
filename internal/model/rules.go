package model

// Rules are the rules of the design, each a switch. All are on in AllRules; the
// package's test takes away one at a time and wants a loss to be found.
type Rules struct {
	PrefixOrder            bool // I1: a number is acknowledged with all below it only
	AmbiguousIsRead        bool // I3: a create without an answer may have taken effect
	RefusalEnds            bool // I4: who meets a tombstone is over
	DrainBeforeHandOver    bool // I2: nothing of the partition is in flight, or it is not acknowledged later
	OutcomeBeforeAppends   bool // I9: after offering a hand-over, appends wait for its outcome
	RefusalIsNoOutcome     bool // I9: and a controller's refusal is none
	EndIsChecked           bool // I8: a range holds only if it starts at the partition's end
	RefusalIsWhole         bool // I8: a range that fails takes the trim with it
	FenceFirst             bool // I12: the fence is committed before the seal, and the adoption needs it
	EpochFilter            bool // I13: only batches of the current epoch are adopted
	OneCreate              bool // I11: at most one metadata create is outstanding
	SealBeforeClaim        bool // a term is claimed only after the one before was sealed
	ClaimStatesEnd         bool // a reader enters a term only if its claim says that the one before ended here
	TombstonesStay         bool // nobody deletes a tombstone
	ReferencedStays        bool // I15: what the image references is not deleted,
	TrimmedBeforeCollected bool // nor what is above a live incarnation's trim,
	AdoptedBeforeCollected bool // nor above the trim of one that is only fenced
	ClaimBeforeCollected   bool // nor a metadata object without a later claim and snapshot
	HeadNeverAttempted     bool // a HEAD proves something only of a number never attempted
	HeadWaitsForPrefix     bool // and when all below are confirmed
	CreateIsFresh          bool // a create proves something only if first attempted after the question
}

// AllRules is the design.
func AllRules() Rules {
	return Rules{
		PrefixOrder: true, AmbiguousIsRead: true, RefusalEnds: true, DrainBeforeHandOver: true, OutcomeBeforeAppends: true, RefusalIsNoOutcome: true,
		EndIsChecked: true, RefusalIsWhole: true, FenceFirst: true, EpochFilter: true, OneCreate: true, SealBeforeClaim: true,
		ClaimStatesEnd: true, TombstonesStay: true, ReferencedStays: true, TrimmedBeforeCollected: true,
		AdoptedBeforeCollected: true, ClaimBeforeCollected: true, HeadNeverAttempted: true, HeadWaitsForPrefix: true, CreateIsFresh: true,
	}
}
