package metadata

import "github.com/karst-io/karst"

// LevelFeature is the feature whose level says what the metadata log, the
// snapshots and all that they name may have in them. A program reads every level up
// to LevelMax, and writes what the image's level allows, so that programs of
// different LevelMax work on one bucket, and one can go back to the older, until
// the level is raised. It is never lowered.
//
//	1  what every Karst reads
//	2  DrainBroker says since when
const LevelFeature = "karst.version"

// levelSince is the level from which on DrainBroker says since when.
const levelSince = 2

// Level is the level of LevelFeature: 1 where it was never raised.
func (i *Image) Level() int32 { return max(1, i.features[LevelFeature]) }

// Level is the highest level that the broker reads.
func (r *Registration) Level() int32 { return max(1, r.Supports) }

// SaysSince reports whether DrainBroker may say since when.
func (i *Image) SaysSince() bool { return i.Level() >= levelSince }

// admits says why a broker that reads up to a level cannot be one of the cluster; nil if
// it can.
func (i *Image) admits(level int32) error {
	if level >= i.Level() {
		return nil
	}
	return karst.UnsupportedVersion.Errorf("the cluster was upgraded to level %d, and this Karst reads up to level %d: run a newer Karst", i.Level(), level)
}

// raise says why the level cannot be raised to another; nil if it can.
func (i *Image) raise(level int32) error {
	if level < i.Level() {
		return karst.FeatureUpdateFailed.Errorf("the cluster is at level %d, which cannot be lowered to %d", i.Level(), level)
	}
	for b := range i.LiveBrokers() {
		if b.Level() < level {
			return karst.FeatureUpdateFailed.Errorf("broker %d reads up to level %d, not %d: run a newer Karst there, or stop it, first", b.ID, b.Level(), level)
		}
	}
	return nil
}

// newer is the error of what only a newer program can have written. It is none of
// damage.
func newer(what string) error {
	return karst.UnsupportedVersion.Errorf("%s, which this Karst does not know: run a newer Karst", what)
}
