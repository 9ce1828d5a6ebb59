package sim

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDeposedNoticesWithoutWriting: a broker that only serves consumers learns
// within two looks that another one has taken its place.
func TestDeposedNoticesWithoutWriting(t *testing.T) {
	bubble(t, 1, func(w *World) {
		old, topic := ready(w, 1)
		w.openLoop(topic, 2*time.Second)
		l, err := w.connect(address(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // flushed: nothing is left to write
		heir := w.Start(1)
		ended := make(chan error, 1)
		go func() { ended <- old.Wait() }()
		began := time.Now()
		for time.Since(began) < 5*time.Minute {
			call := l.send(kmsg.NewPtrApiVersionsRequest())
			select {
			case <-call.done:
			case <-time.After(time.Second):
			}
			select {
			case err := <-ended:
				t.Logf("ended after %v: %v", time.Since(began), err)
				if err == nil {
					t.Error("the deposed broker ended without a reason")
				}
				_ = heir.Stop()
				_ = heir.Wait()
				return
			case <-time.After(5 * time.Second):
			}
		}
		t.Error("a deposed broker still serves after five minutes")
		_ = heir.Stop()
		_ = old.Stop()
	})
}
