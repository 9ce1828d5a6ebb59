package metadata

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/karst-io/karst"
)

func (r *RegisterBroker) apply(img *Image, d *changes) error {
	if r.Incarnation != img.nextIncarnation {
		return refuse("incarnation %d is not the next one, %d", r.Incarnation, img.nextIncarnation)
	}
	if b, ok := img.LiveBroker(r.ID); ok {
		return refuse("broker %d is live as incarnation %d", r.ID, b.Incarnation)
	}
	if err := img.admits(r.Level()); err != nil {
		return err
	}
	texts := []string{r.Rack, r.Host, r.WALURL, r.Peer}
	for _, l := range r.Listeners {
		texts = append(texts, l.Name, l.Host)
	}
	for _, v := range texts {
		if !utf8.ValidString(v) {
			return refuse("%q is not valid UTF-8", v)
		}
	}
	img.nextIncarnation++
	img.setBroker(d, &BrokerState{Incarnation: r.Incarnation, Registration: r.Registration, Phase: Live})
	return nil
}

func (r *DrainBroker) apply(img *Image, d *changes) error {
	if r.ID < 0 {
		return refuse("broker id %d is negative", r.ID)
	}
	if r.Since != 0 && !img.SaysSince() {
		return refuse("broker %d is drained since a time, which level %d does not have", r.ID, img.Level())
	}
	if r.Drained {
		img.drained.Set(r.ID, r.Since)
	} else {
		img.drained.Delete(r.ID)
	}
	if b, ok := img.LiveBroker(r.ID); ok {
		d.incarnations[b.Incarnation] = struct{}{}
	}
	return nil
}

func (r *FenceIncarnation) apply(img *Image, d *changes) error {
	b, ok := img.Broker(r.Incarnation)
	if !ok || b.Phase != Live {
		return refuse("incarnation %d is not live", r.Incarnation)
	}
	next := *b
	next.Phase = Fenced
	img.setBroker(d, &next)
	return nil
}

// WhyKept is why ForgetIncarnation does not hold; nil if it does.
func (i *Image) WhyKept(inc karst.Incarnation) error {
	b, ok := i.Broker(inc)
	switch {
	case !ok || b.Phase != Adopted:
		return refuse("incarnation %d is not adopted", inc)
	case i.leads[inc] > 0:
		return refuse("incarnation %d still is the last leader of %d partitions", inc, i.leads[inc])
	case i.referencesWAL(inc):
		return refuse("the WAL of incarnation %d is still referenced", inc)
	}
	return nil
}

func (r *ForgetIncarnation) apply(img *Image, d *changes) error {
	if err := img.WhyKept(r.Incarnation); err != nil {
		return err
	}
	b, _ := img.Broker(r.Incarnation)
	img.brokers.Delete(r.Incarnation)
	img.ended.Set(r.Incarnation, b.WALEnd)
	d.incarnations[r.Incarnation] = struct{}{}
	return nil
}

// Forgettable reports whether ForgetIncarnation holds.
func (i *Image) Forgettable(inc karst.Incarnation) bool { return i.WhyKept(inc) == nil }

// referencesWAL reports whether any WAL object of inc is referenced.
func (i *Image) referencesWAL(inc karst.Incarnation) bool {
	found := false
	i.refs.Ascend(reference{object: ObjectID{Kind: WALObject, Writer: inc}}, func(r reference) bool {
		found = r.object.Kind == WALObject && r.object.Writer == inc
		return false
	})
	return found
}

func (r *ReleaseHeld) apply(img *Image, d *changes) error {
	b, ok := img.Broker(r.Incarnation)
	if !ok || b.Phase != Adopted {
		return refuse("incarnation %d is not adopted", r.Incarnation)
	}
	for _, o := range b.Held {
		img.unref(d, o)
	}
	next := *b
	next.Held = nil
	img.setBroker(d, &next)
	// Stopped partitions are still led by the adopted incarnation: nobody else
	// was allowed to take them.
	for _, p := range slices.Collect(img.PartitionsLedBy(r.Incarnation)) {
		if p.Stopped == r.Incarnation {
			free := *p
			free.Stopped = 0
			img.setPartition(d, p, &free)
		}
	}
	return nil
}

func (r *AllocateProducerIDs) apply(img *Image, _ *changes) error {
	if r.First != img.nextProducer || r.Count <= 0 || r.First+karst.ProducerID(r.Count) < r.First {
		return refuse("producer ids %d+%d do not continue %d", r.First, r.Count, img.nextProducer)
	}
	img.nextProducer += karst.ProducerID(r.Count)
	return nil
}

func (r *SetFeature) apply(img *Image, _ *changes) error {
	if r.Name == LevelFeature {
		if err := img.raise(r.Level); err != nil {
			return err
		}
	}
	if r.Name == "" || !utf8.ValidString(r.Name) || r.Level < img.features[r.Name] {
		return refuse("feature %q is at level %d", r.Name, img.features[r.Name])
	}
	img.features[r.Name] = r.Level
	return nil
}

func (r *SetConfigs) apply(img *Image, d *changes) error {
	if err := checkConfigs(r.Configs); err != nil {
		return err
	}
	for _, name := range []string{r.Resource.Broker, r.Resource.Group, r.Resource.ClientMetrics} {
		if !utf8.ValidString(name) {
			return karst.InvalidConfig.Errorf("resource %q is not valid UTF-8", name)
		}
	}
	if !r.Resource.Topic.IsZero() {
		t, ok := img.TopicByID(r.Resource.Topic)
		if !ok {
			return karst.UnknownTopicID.Errorf("no topic of id %s", r.Resource.Topic)
		}
		next := *t
		next.Configs = maps.Clone(r.Configs)
		img.setTopic(d, &next)
		return nil
	}
	of, name := img.configs, r.Resource.Broker
	switch {
	case r.Resource.Group != "":
		of, name = img.groups, r.Resource.Group
	case r.Resource.ClientMetrics != "":
		of, name = img.metrics, r.Resource.ClientMetrics
	default:
		d.configs = true
	}
	if len(r.Configs) == 0 {
		of.Delete(name)
	} else {
		of.Set(name, maps.Clone(r.Configs))
	}
	return nil
}
