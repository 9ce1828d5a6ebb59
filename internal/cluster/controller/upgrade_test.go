package controller

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/mem"
)

// TestUpgrade raises the level to what all live brokers and the controller read,
// and writes nothing of a level before.
func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.New("upgrade")
		n := start(t, st, Config{})
		defer n.shutdown(t)
		upgrade := func(level, before, after int32) {
			t.Helper()
			was, is, err := n.Upgrade(t.Context(), level)
			must(t, err)
			if was != before || is != after || n.replica.Image().Level() != after {
				t.Errorf("%d: from %d to %d, want from %d to %d", level, was, is, before, after)
			}
		}
		refused := func(level int32, why string) {
			t.Helper()
			if _, _, err := n.Upgrade(t.Context(), level); code(err) != karst.FeatureUpdateFailed || !strings.Contains(err.Error(), why) {
				t.Errorf("%d: %v", level, err)
			}
		}
		_, err := n.Register(t.Context(), Registration{ID: 1, Supports: 9})
		must(t, err)
		inc, err := n.Register(t.Context(), Registration{ID: 2})
		must(t, err)
		upgrade(0, 1, 1)
		upgrade(1, 1, 1)
		refused(-1, "cannot be lowered to -1")
		refused(metadata.LevelMax+1, "broker 2 reads up to level 1")
		must(t, n.Drain(t.Context(), 1, true))
		if since := n.replica.Image().DrainedSince(1); since != 0 {
			t.Errorf("since %d at level 1", since)
		}
		must(t, n.Fence(t.Context(), inc))
		refused(metadata.LevelMax+1, "the controller reads up to level")
		upgrade(0, 1, metadata.LevelMax)
		same(t, n.replica.Image(), read(t, st))
		if metadata.LevelMax < 2 {
			return
		}
		refused(1, "cannot be lowered to 1")
		if _, err := n.Register(t.Context(), Registration{ID: 2, Supports: 1}); code(err) != karst.UnsupportedVersion {
			t.Errorf("an older broker: %v", err)
		}
		must(t, n.Drain(t.Context(), 1, false))
		must(t, n.Drain(t.Context(), 1, true))
		if since := n.replica.Image().DrainedSince(1); since == 0 {
			t.Error("it does not say since when")
		}
		same(t, n.replica.Image(), read(t, st))
	})
}
