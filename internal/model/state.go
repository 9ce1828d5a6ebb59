package model

// Bounds of the arrays of a state. A Config uses a part of them.
const (
	incarnationsMax = 3
	partitionsMax   = 2
	numbersMax      = 4 // of one WAL
	offsetsMax      = 4
	termsMax        = 3
	commitsMax      = 4 // of one term
	controllersMax  = 2
)

// What a numbered name of a WAL holds.
const (
	absent = iota
	data   // true bytes of the log's writer: names are never reused
	tombstone
)

// record is what a WAL segment holds of one partition: a batch of one record, or
// a trim entry (DeleteRecords), with the leader epoch it was appended at.
type record uint8

const (
	noRecord = iota
	batch
	trimEntry
)

func newRecord(kind, offset, epoch uint8) record { return record(kind<<6 | offset<<3 | epoch) }

func (r record) kind() uint8   { return uint8(r) >> 6 }
func (r record) offset() uint8 { return uint8(r) >> 3 & 7 }
func (r record) epoch() uint8  { return uint8(r) & 7 }

// isBatch reports whether r is a batch of the epoch.
func (r record) isBatch(epoch uint8) bool { return r.kind() == batch && r.epoch() == epoch }

// attempts is what is under way for one name: requests that have not taken effect
// yet, and answers that its writer has not heard yet. A lost answer is one that
// never arrives.
type attempts struct {
	open    uint8 // attempts that have not taken effect
	tries   uint8 // attempts so far
	created bool  // an answer "created" is under way
	refused bool  // an answer "exists" is; its reader will look at what is there
}

// number is one number of one WAL.
type number struct {
	holds uint8
	attempts
	confirmed bool
	skipped   bool // taken for failed: only without AmbiguousIsRead
	records   [partitionsMax]record
	deserted  [partitionsMax]bool // the batch will not be acknowledged
}

// Where a planned move of a partition is, with its old leader.
const (
	still   = iota // no move
	stopped        // appends are stopped, what is in flight drains
	offered        // the hand-over is out, its outcome not known
)

// What a question that wants a proof has met.
const (
	nobodyAsked  = iota
	askedInTime  // the incarnation led when the question arrived
	askedTooLate // it did not any more
)

// broker is one incarnation, from its own point of view.
type broker struct {
	image   uint16    // of its replica
	offers  [2]uint16 // commit requests on their way to controllers, 0: none
	started uint8     // numbers attempted so far
	acked   uint8     // numbers acknowledged: a prefix, with PrefixOrder
	request uint8     // of its last offer
	asked   uint8
	fresh   uint8 // first number attempted after the question, 0: none
	vacant  uint8 // number found absent by a HEAD after the question, 0: none
	moves   [partitionsMax]uint8
	moveReq uint8 // request of the hand-over that is out
	over    bool
}

// What a controller is about.
const (
	following = iota
	sealing   // walks up the newest term it knows
	ended     // has the tombstone, and all below it
	claiming  // the claim is out
	writing
)

// controller is a process that may write the metadata log.
type controller struct {
	image uint16
	out   [2]uint16 // log objects being created; two only without OneCreate
	late  uint16    // the newest whose create may still take effect though nobody waits for it
	claim uint16    // the image that the claim under way states
	tries [2]attempts
	term  uint8 // the replica's position: the last commit applied
	at    uint8
	phase uint8
	said  uint8 // the highest number it called committed,
	in    uint8 // in this term

	claimTerm uint8 // the claim under way, 0: none
	claimEnd  uint8
	job       failover
}

// failover is the sealing of one WAL, by one controller.
type failover struct {
	inc  uint8 // 0: none
	next uint8 // number to look at next
	seen uint8 // set of the numbers read as data
	end  uint8 // of the tombstone, once found
}

// replica follows the metadata log and does nothing else.
type replica struct {
	image    uint16
	term, at uint8
}

// claim begins a term.
type claim struct {
	image uint16 // checksum of the commit before
	owner uint8  // 0: no claim
	end   uint8  // number at which the term before ended
}

// state is everything: the bucket, the processes, the messages, and what the
// world was told.
type state struct {
	// The bucket.
	wal      [incarnationsMax][numbersMax]number
	log      [termsMax][commitsMax + 1]uint16 // 0 absent, 1 tombstone, else a logged
	claims   [termsMax]claim
	snapshot replica                // the newest
	doomed   [incarnationsMax]uint8 // sets of WAL numbers whose delete is under way

	// Processes.
	brokers     [incarnationsMax]broker
	controllers [controllersMax]controller
	reader      replica

	// What is true, though nobody sees all of it: the image after the last commit
	// that is in the log, its term, and where terms stand and ended.
	truth  uint16
	term   uint8
	length [termsMax]uint8
	end    [termsMax]uint8

	// What clients were told: the WAL segment that held an acknowledged record,
	// and up to where records were deleted.
	told    [partitionsMax][offsetsMax]source
	deleted [partitionsMax]uint8
}

// source says where the bytes of an offset are: the WAL segment they were first
// in, and whether they were copied from there.
type source uint8

const copied = source(0x80)

func newSource(inc, n uint8) source { return source(inc<<4 | n) }

func (s source) inc() uint8       { return uint8(s) >> 4 & 7 }
func (s source) number() uint8    { return uint8(s) & 15 }
func (s source) original() source { return s &^ copied }
