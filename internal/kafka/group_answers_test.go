package kafka

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// A group that is named twice is asked for once and answered twice.
func TestGroupNamedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		d := kmsg.NewPtrDescribeGroupsRequest()
		d.Groups = []string{"g", "h", "g"}
		f.says = group.Description{State: "Stable", Members: []group.DescribedMember{{Member: "m"}}}
		r := call[*kmsg.DescribeGroupsResponse](t, c, 6, d)
		if len(f.asked) != 2 || len(r.Groups) != 3 || r.Groups[1].Group != "h" || r.Groups[2].Group != "g" || len(r.Groups[2].Members) != 1 {
			t.Errorf("asked %v, %+v", f.asked, r)
		}
		f.asked = nil
		q := kmsg.NewPtrOffsetFetchRequest()
		for _, m := range []string{"", "", "member"} {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.MemberID = "g", &m
			q.Groups = append(q.Groups, g)
		}
		f.says = group.FetchAnswer{Topics: []group.FetchedTopic{{Topic: group.TopicRef{Name: "t"}, Offsets: []group.FetchedOffset{{Offset: 7}}}}}
		for v, asked := range map[int16]int{8: 1, 9: 2} { // members come with version 9
			f.asked = nil
			fr := call[*kmsg.OffsetFetchResponse](t, c, v, q)
			if len(f.asked) != asked || len(fr.Groups) != 3 || fr.Groups[1].Topics[0].Partitions[0].Offset != 7 {
				t.Errorf("version %d: asked %v, %+v", v, f.asked, fr)
			}
		}
	})
}

// A small request cannot ask for an answer without bound.
func TestGroupAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		d := kmsg.NewPtrDescribeGroupsRequest()
		for range answerMax >> 20 {
			d.Groups = append(d.Groups, "g")
		}
		member := group.DescribedMember{Metadata: make([]byte, 1<<19), Assignment: make([]byte, 1<<19)}
		f.says = group.Description{State: "Stable", Members: []group.DescribedMember{member}}
		write(t, c, encoded(1, d))
		closed(t, c)

		c = h.dial(t)
		note := strings.Repeat("x", 1<<12)
		offset := group.FetchedOffset{Metadata: note}
		f.says = group.FetchAnswer{Topics: []group.FetchedTopic{{Topic: group.TopicRef{Name: "t"}, Offsets: []group.FetchedOffset{offset}}}}
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Version = 8
		for range answerMax / (len(note) + answerEntryBytes) {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = "g"
			q.Groups = append(q.Groups, g)
		}
		write(t, c, encoded(1, q)) // as large as may be
		if _, b, err := readResponse(c); err != nil || bytes.Count(b, []byte(note)) != len(q.Groups) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		q.Groups = append(q.Groups, g)
		write(t, c, encoded(2, q))
		closed(t, c)
	})
}

// Nor for state to be gathered without bound before the answer is looked at.
func TestOffsetFetchAsksForLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Version = 9
		for i := range wholeMax + 1 {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.MemberID = "g", new(fmt.Sprint("m", i))
			q.Groups = append(q.Groups, g)
		}
		all := q.Groups
		q.Groups = append(all[:wholeMax:wholeMax], all[:wholeMax]...)
		if fr := call[*kmsg.OffsetFetchResponse](t, c, 9, q); len(fr.Groups) != 2*wholeMax || len(f.asked) != wholeMax {
			t.Errorf("asked %d times, %d answers", len(f.asked), len(fr.Groups))
		}
		f.asked, q.Groups = nil, all
		write(t, c, encoded(1, q))
		closed(t, c)
		if len(f.asked) > wholeMax {
			t.Errorf("asked %d times for all of one group", len(f.asked))
		}

		c, f.asked = h.dial(t), nil
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: make([]int32, answerMax/answerEntryBytes)}}
		q.Groups = []kmsg.OffsetFetchRequestGroup{g}
		write(t, c, encoded(2, q))
		closed(t, c)
		if len(f.asked) > 0 {
			t.Error("asked for more than could be answered")
		}
	})
}
