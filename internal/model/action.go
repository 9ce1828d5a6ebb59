package model

import (
	"fmt"
	"strings"
)

// action is a kind of step.
type action uint8

// The actions.
const (
	actNone action = iota
	actAppend
	actDelete
	actRetry
	actLand
	actLandLate
	actMeet
	actHear
	actRefused
	actGiveUp
	actReplica
	actFlush
	actFlushOne
	actStop
	actOffer
	actDesert
	actResume
	actResumeEarly
	actAsk
	actHead
	actProve
	actNote
	actRegister
	actFence
	actCommit
	actHandOver
	actAdopt
	actAdoptMany
	actPlace
	actReturn
	actMerge
	actSealStart
	actSealData
	actSealEnd
	actSealFound
	actWall
	actTermStart
	actTermData
	actTermEnd
	actTermFound
	actTermLost
	actClaim
	actClaimLands
	actWriter
	actAbandon
	actMetaRetry
	actMetaLands
	actMetaLate
	actMetaRefused
	actMetaDone
	actMetaOver
	actRead
	actEnter
	actRestart
	actSnapshot
	actCollect
	actCollectAdopted
	actDeleted
	actCollectTombstone
	actCollectCommit
	actions
)

// texts name the actions; %[1]d to %[3]d are a step's arguments.
var texts = [actions]string{
	actNone:             "begin:",
	actAppend:           "append: incarnation %[1]d starts number %[2]d, with batches of partitions %[3]b (a set, in binary)",
	actDelete:           "delete records: incarnation %[1]d starts number %[2]d with a trim entry of partition %[3]d",
	actRetry:            "retry: incarnation %[1]d tries number %[2]d again",
	actLand:             "created: number %[2]d of incarnation %[1]d is there",
	actLandLate:         "created late: number %[2]d of incarnation %[1]d, which is over or fenced",
	actMeet:             "exists: number %[2]d of incarnation %[1]d is refused",
	actHear:             "heard: incarnation %[1]d confirms number %[2]d",
	actRefused:          "looked: incarnation %[1]d was refused number %[2]d, and is over",
	actGiveUp:           "assume: incarnation %[1]d takes number %[2]d for failed",
	actReplica:          "replica: that of incarnation %[1]d is at the tail",
	actFlush:            "flush: incarnation %[1]d offers numbers up to %[2]d (1 copied, 0 as they are: %[3]d)",
	actFlushOne:         "flush one: incarnation %[1]d offers partition %[2]d alone, without a trim (1 copied, 0 as it is: %[3]d)",
	actStop:             "stop: incarnation %[1]d stops appends to partition %[2]d",
	actOffer:            "hand over: incarnation %[1]d offers partition %[2]d to %[3]d",
	actDesert:           "hand over in flight: incarnation %[1]d offers partition %[2]d to %[3]d, with batches in flight",
	actResume:           "resume: incarnation %[1]d knows that it keeps partition %[2]d",
	actResumeEarly:      "resume early: incarnation %[1]d appends to partition %[2]d again",
	actAsk:              "ask: somebody asks incarnation %[1]d (%[2]d: 1 in time, 2 after it was deposed)",
	actHead:             "HEAD: incarnation %[1]d finds number %[2]d absent",
	actProve:            "answer: incarnation %[1]d proves itself (by number %[2]d)",
	actNote:             "note: controller %[1]d",
	actRegister:         "register: controller %[1]d commits incarnation %[2]d",
	actFence:            "fence: controller %[1]d fences incarnation %[2]d",
	actCommit:           "commit: controller %[1]d takes an offer of incarnation %[2]d with trim %[3]d",
	actHandOver:         "commit hand-over: controller %[1]d takes an offer of incarnation %[2]d to %[3]d",
	actAdopt:            "adopt: controller %[1]d commits the adoption of incarnation %[2]d, heir %[3]d",
	actAdoptMany:        "adopt many: controller %[1]d commits the adoption of incarnation %[2]d with several segments, heir %[3]d",
	actPlace:            "place: controller %[1]d gives partition %[2]d to incarnation %[3]d",
	actReturn:           "commit return: controller %[1]d takes an offer of incarnation %[2]d to %[3]d, which led before",
	actMerge:            "merge: controller %[1]d, partition %[2]d",
	actSealStart:        "seal: controller %[1]d begins with incarnation %[2]d above number %[3]d",
	actSealData:         "seal data: controller %[1]d, number %[3]d of incarnation %[2]d",
	actSealEnd:          "seal tombstone: controller %[1]d creates one at number %[3]d of incarnation %[2]d",
	actSealFound:        "seal found: controller %[1]d finds a tombstone at number %[3]d of incarnation %[2]d",
	actWall:             "seal wall: controller %[1]d puts a tombstone ahead, at number %[3]d of incarnation %[2]d",
	actTermStart:        "take over: controller %[1]d begins to seal term %[2]d",
	actTermData:         "take over data: controller %[1]d applies %[2]d/%[3]d",
	actTermEnd:          "take over tombstone: controller %[1]d creates one at %[2]d/%[3]d",
	actTermFound:        "take over found: controller %[1]d finds a tombstone at %[2]d/%[3]d",
	actTermLost:         "take over lost: controller %[1]d gives up term %[2]d",
	actClaim:            "claim: controller %[1]d sends the claim of term %[2]d, end %[3]d",
	actClaimLands:       "claimed: that of controller %[1]d of term %[2]d",
	actWriter:           "writer: controller %[1]d holds term %[2]d",
	actAbandon:          "abandon: controller %[1]d gives up writing, outcome unknown",
	actMetaRetry:        "create again: controller %[1]d, its commit",
	actMetaLands:        "commit lands: %[2]d/%[3]d of controller %[1]d",
	actMetaLate:         "commit lands late: %[2]d/%[3]d of controller %[1]d, which is past it",
	actMetaRefused:      "commit exists: %[2]d/%[3]d of controller %[1]d is refused",
	actMetaDone:         "committed: controller %[1]d hears of %[2]d/%[3]d",
	actMetaOver:         "term over: controller %[1]d was refused %[2]d/%[3]d",
	actRead:             "read: replica %[1]d applies %[2]d/%[3]d",
	actEnter:            "enter: replica %[1]d goes to term %[2]d",
	actRestart:          "restart: replica %[1]d begins again from snapshot %[2]d/%[3]d",
	actSnapshot:         "snapshot: controller %[1]d writes %[2]d/%[3]d",
	actCollect:          "collect: number %[2]d of incarnation %[1]d, trimmed",
	actCollectAdopted:   "collect adopted: number %[2]d of incarnation %[1]d, above the trim",
	actDeleted:          "deleted: number %[2]d of incarnation %[1]d, whatever it was",
	actCollectTombstone: "collect tombstone: number %[2]d of incarnation %[1]d",
	actCollectCommit:    "collect commit: %[1]d/%[2]d",
}

func (a action) name() string {
	name, _, _ := strings.Cut(texts[a], ":")
	return name
}

func (s step) String() string {
	text := texts[s.act]
	if !strings.Contains(text, "%") {
		return text
	}
	return fmt.Sprintf(text, s.a, s.b, s.c)
}
