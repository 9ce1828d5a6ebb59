package model

// Config bounds the state space: it says what there is and what may happen. The
// specification is the same for all.
type Config struct {
	Name string

	Incarnations int // that there may be; one that is not live at first can be registered
	Live         int // of them, at first
	Partitions   int // led by incarnation 1 at first
	Numbers      int // of each WAL
	Offsets      int // of each partition
	Overlap      int // numbers attempted and not acknowledged
	Attempts     int // of one create
	Offers       int // of one incarnation, on their way at once
	Requests     int // offers that an incarnation may make, with Moves; 0: any number, without names
	Epochs       int // the highest leader epoch

	Controllers int
	Terms       int // 1: the controller's creates are one step
	Commits     int // of one term
	Notes       int // commits of one term that do nothing else

	Fences       uint8 // set of incarnations that may be fenced
	Appends      uint8 // set of incarnations that may append
	Together     bool  // a segment holds all partitions; otherwise any of them, or all
	Adopts       bool  // flushes adopt WAL segments as they are
	Copies       bool  // flushes copy
	Partial      bool  // flushes of one partition, without a trim
	Trims        bool  // DeleteRecords
	Merges       bool
	Collects     bool
	SlowDeletes  bool // a delete takes effect some time after it was decided
	Moves        bool
	Deserts      bool // hand-overs with batches in flight that nobody is told of
	Walls        bool // a sealer puts tombstones ahead of a writer
	Prompt       bool // the replicas of brokers are at the tail always
	Asks         bool // questions that want a proof, of incarnation 1
	Reader       bool // a replica that only follows
	Snapshots    bool
	CollectsMeta bool
}

// lone is what the configurations of one controller have in common.
func lone(name string) Config {
	return Config{
		Name: name, Incarnations: 2, Live: 2, Partitions: 1, Numbers: 3, Offsets: 3, Overlap: 3, Attempts: 1,
		Offers: 1, Epochs: 2, Controllers: 1, Terms: 1, Fences: 1, Appends: 1, Together: true,
	}
}

// Configs are the bounds that the package's test explores, each to the end: those
// of every run, and with long larger ones.
func Configs(long bool) []Config {
	return []Config{
		crash(long), shared(long), trims(long), joins(long), moves(long), deserts(long), newcomers(long), proofs(long), terms(long), hedges(long), rivals(long), sealers(long), everything(long),
	}
}

// crash: one incarnation whose uploads overlap is fenced, sealed and adopted at
// any moment, while it flushes and is collected.
func crash(long bool) Config {
	c := lone("crash")
	c.Copies, c.Adopts, c.Collects, c.Offers, c.Walls, c.Numbers, c.Overlap = true, true, true, 2, true, 3, 3
	c.Attempts = 2
	if long {
		c.Numbers, c.Offsets, c.Overlap = 4, 4, 4
	}
	return c
}

// shared: two partitions in one WAL, flushed together or apart, merged and
// collected.
func shared(long bool) Config {
	c := lone("shared")
	c.Partitions, c.Numbers, c.Offsets, c.Overlap = 2, 2, 2, 2
	c.Together, c.Adopts, c.Partial, c.Merges, c.Collects = false, true, true, true, true
	if long {
		c.Numbers, c.Copies = 3, true
	}
	return c
}

// trims: DeleteRecords between appends.
func trims(long bool) Config {
	c := lone("trims")
	c.Trims, c.Copies, c.Collects, c.Offers, c.Numbers = true, true, true, 2, 4
	if long {
		c.Adopts, c.Attempts = true, 2
	}
	return c
}

// joins: an heir that registers, leads, appends and is fenced itself.
func joins(long bool) Config {
	c := lone("joins")
	c.Live, c.Incarnations, c.Numbers, c.Offsets, c.Overlap = 1, 3, 2, 3, 2
	c.Fences, c.Appends, c.Epochs, c.Collects = 3, 3, 3, true
	if long {
		c.Copies = true
	}
	return c
}

// moves: partitions go to another incarnation and come back, with crashes between.
func moves(long bool) Config {
	c := lone("moves")
	c.Numbers, c.Overlap, c.Offsets, c.Epochs, c.Requests = 2, 2, 2, 3, 2
	c.Moves, c.Adopts, c.Collects, c.Offers, c.Fences, c.Appends = true, true, true, 2, 3, 3
	if long {
		c.Numbers, c.Offsets, c.Overlap, c.Fences = 3, 3, 3, 1
	}
	return c
}

// deserts: hand-overs with batches in flight that nobody is told of. The epoch
// filter alone makes that harmless.
func deserts(long bool) Config {
	c := moves(long)
	c.Name, c.Deserts, c.Collects, c.Offers, c.Numbers, c.Overlap = "deserts", true, false, 1, 2, 2
	if !long {
		c.Appends = 1
	}
	return c
}

// newcomers: a hand-over to an incarnation that not every controller knows.
func newcomers(long bool) Config {
	c := lone("newcomers")
	c.Live, c.Numbers, c.Overlap, c.Offsets, c.Controllers, c.Terms, c.Commits = 1, 1, 1, 1, 2, 2, 2
	c.Moves, c.Requests, c.Copies, c.Fences, c.Prompt = true, 1, true, 0, true
	if long {
		c.Numbers, c.Offsets, c.Overlap, c.Requests, c.Commits = 2, 2, 2, 2, 3
	}
	return c
}

// proofs: an incarnation that may have been deposed is asked.
func proofs(long bool) Config {
	c := lone("proofs")
	c.Asks, c.Collects, c.Merges, c.Attempts = true, true, true, 2
	if long {
		c.Adopts = true
	}
	return c
}

// terms: controllers take over from each other again and again, while commits are
// collected and a reader follows.
func terms(long bool) Config {
	c := Config{
		Name: "terms", Incarnations: 1, Live: 1, Partitions: 1, Attempts: 1,
		Controllers: 2, Terms: 3, Commits: 2, Notes: 2, Reader: true, Snapshots: true, CollectsMeta: true,
	}
	if long {
		c.Attempts = 2
	}
	return c
}

// hedges: creates of commits are attempted twice, and the second attempt may take
// effect long after.
func hedges(long bool) Config {
	c := terms(false)
	c.Name, c.Terms, c.Attempts = "hedges", 2, 2
	if long {
		c.Commits, c.Notes, c.Attempts = 3, 3, 2
	}
	return c
}

// rivals: two controllers fail the same incarnation over, and do not know of each
// other.
func rivals(long bool) Config {
	c := lone("rivals")
	c.Numbers, c.Overlap, c.Offsets, c.Controllers, c.Terms, c.Commits = 2, 2, 2, 2, 2, 3
	c.Copies, c.Collects, c.Prompt, c.Snapshots, c.CollectsMeta = true, true, true, true, true
	if long {
		c.Commits, c.Prompt = 4, false
	}
	return c
}

// sealers: one of the two still seals when what it seals was adopted, merged and
// collected, and deletes take time.
func sealers(long bool) Config {
	c := lone("sealers")
	c.Numbers, c.Overlap, c.Offsets, c.Controllers, c.Terms, c.Commits = 2, 2, 2, 2, 2, 3
	c.Merges, c.Collects, c.SlowDeletes, c.Prompt = true, true, true, true
	if long {
		c.Asks, c.Commits = true, 4
	}
	return c
}

// everything: appends, trim entries, flushes, moves, failovers and collection
// under controllers that take over from each other.
func everything(long bool) Config {
	c := lone("everything")
	c.Numbers, c.Overlap, c.Offsets, c.Controllers, c.Terms, c.Commits = 2, 2, 2, 2, 2, 3
	c.Moves, c.Requests, c.Trims, c.Copies, c.Collects, c.Prompt = true, 1, true, true, true, true
	if long {
		c.Epochs = 3
	}
	return c
}
