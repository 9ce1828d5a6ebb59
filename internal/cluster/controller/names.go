package controller

import "github.com/karst-io/karst"

// topicNameMax is the longest topic name, in bytes, as in Kafka.
const topicNameMax = 249

// checkTopicName is Kafka's rule for topic names.
func checkTopicName(name string) error {
	switch {
	case name == "":
		return karst.InvalidTopic.Errorf("Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return karst.InvalidTopic.Errorf("Topic name is invalid: '%s' is not allowed", name)
	case len(name) > topicNameMax:
		return karst.InvalidTopic.Errorf("Topic name is invalid: the length of '%s' is longer than the max allowed length %d", name, topicNameMax)
	}
	for _, b := range []byte(name) {
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if !letter && b != '.' && b != '_' && b != '-' {
			return karst.InvalidTopic.Errorf(
				"Topic name is invalid: %q contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}
