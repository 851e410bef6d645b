package prose

import "regexp"

// maxDensity is the largest number of markers per 1,000 words, in Go comments and in
// Markdown. One marker can be right; many make a text hard to read.
const maxDensity = 4.0

// maxSubject is the largest length of a commit's subject, in characters. git log and
// web pages cut longer ones.
const maxSubject = 72

// markers matches constructions that are hard to read: actors without a name, clauses
// in place of nouns, and archaic connectives. CONTRIBUTING.md says what to write instead.
var markers = regexp.MustCompile(`(?i)` +
	`\b(?:whoever|whatever|whichever|whomever)\b` +
	`|\bwhat (?:is|was|are|were|has|had|comes|came|it|they|lies|follows|stands|one|goes|may|there|others)\b` +
	`|\b(?:those|one|he|others) who\b|\b(?:nobody|somebody|everybody)\b` +
	`|\b(?:is|are|was|were|has|have) (?:no|none)\b` +
	`|, for (?:it|they|the|a|an|no|there|what|that|one|its|only|nobody|most)\b` +
	`|\ball the same\b|\banew\b|\b(?:is|are) to be\b|\bfrom (?:then|now) on\b|\bfrom which on\b|\bof whom\b`)

// subject is the form of a commit's subject: the packages or files that it changes, a
// colon and a sentence without a capital.
var subject = regexp.MustCompile(`^[\w./-]+(?:, [\w./-]+)*: \S|^Revert "`)

// metaphors maps words that names must not have to the terms that replace them. A word
// matches as a whole part of a name: "seat" matches openSeat, not seating.
var metaphors = map[string]string{
	"attend":    "handle",
	"attendant": "handler",
	"census":    "in-flight counter",
	"crew":      "scheduler",
	"crews":     "schedulers",
	"desk":      "worker",
	"desks":     "workers",
	"farewell":  "drain message",
	"farewells": "drain messages",
	"horizon":   "unrecorded-before",
	"leg":       "partitionSub",
	"legs":      "partitionSubs",
	"lend":      "detach",
	"lent":      "detached",
	"obey":      "handle",
	"outlet":    "writer, transport",
	"pace":      "message limiter",
	"patience":  "backoff, or the name of a time limit",
	"quota":     "limit",
	"ration":    "limit",
	"rations":   "limits",
	"seat":      "connection slot",
	"seated":    "with a connection slot",
	"seats":     "connection slots",
	"sendaway":  "reject, drain",
	"sighting":  "last known event",
	"sightings": "last known events",
	"slave":     "replica",
	"tally":     "counters",
	"visit":     "access record",
	"visits":    "access records",
	"whatever":  "the name of the thing",
}

// pairs maps two neighbouring words of a name to the term that replaces them.
var pairs = map[string]string{
	"send away": "reject, drain",
}
