package group

import "github.com/karst-io/karst"

// What members are told, in Kafka's words.

func unknownMember() error {
	return karst.UnknownMember.Errorf("The coordinator is not aware of this member.")
}

func illegalGeneration() error {
	return karst.IllegalGeneration.Errorf("Specified group generation id is not valid.")
}

func inconsistentProtocol() error {
	return karst.InconsistentProtocol.Errorf("The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.")
}

func rebalanceInProgress() error {
	return karst.RebalanceInProgress.Errorf("The group is rebalancing, so a rejoin is needed.")
}

func fencedInstance() error {
	return karst.FencedInstance.Errorf("The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.")
}

func nonEmptyGroup() error {
	return karst.NonEmptyGroup.Errorf("The group is not empty.")
}

func groupNotFound(id string) error {
	return karst.GroupNotFound.Errorf("Group %s not found.", id)
}
