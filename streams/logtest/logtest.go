package logtest

import "testing"

// Run runs every test of the suite, each with a new harness. open must close the logs
// with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	tests := []struct {
		name string
		run  func(*test)
	}{
		{"IDsRiseOverRoomsAndAppenders", testIDsRise},
		{"PrevChainsARoom", testPrevChains},
		{"BatchIsStoredInOrder", testBatchOrder},
		{"BatchSpansRoomsAndPartitions", testBatchSpans},
		{"BatchFailureAffectsOneDraft", testBatchFailures},
		{"EmptyBatchHasNoReceipts", testBatchEmpty},

		{"AfterBounds", testAfterBounds},
		{"BeforeBounds", testBeforeBounds},
		{"ReadEndsAtItsLimit", testReadLimit},
		{"PagesOfBytesHaveEveryEvent", testReadPages},
		{"ContentSurvives", testContent},

		{"KeyRepeatIsStoredOnce", testKeyRepeat},
		{"KeyReuseStoresNothing", testKeyReuse},
		{"KeyBelongsToItsRoom", testKeyScope},
		{"KeyRepeatedConcurrentlyIsStoredOnce", testKeyConcurrent},
		{"KeyTwiceInOneBatch", testKeyTwiceInBatch},
		{"KeyOfEphemeralEvent", testKeyEphemeral},

		{"RoomIsNewOnce", testNewRoom},
		{"RoomIsNewOnceInABatch", testNewRoomInBatch},
		{"KeyOfADraftForExistingRooms", testNewRoomKey},
		{"EphemeralRoomIsNeverNew", testNewRoomEphemeral},

		{"DurabilityIsAtLeastAsRequested", testDurability},
		{"EphemeralEventHasNoDurability", testDurabilityEphemeral},

		{"RoomKeepsItsNewestEvents", testKeepCount},
		{"SmallerCapTrimsAtOnce", testKeepShrinks},
		{"EventsExpireByAge", testKeepAge},
		{"EphemeralEventIsLiveOnly", testEphemeral},

		{"WatermarksOfANewLog", testWatermarksNew},
		{"WatermarksFollowAppends", testWatermarksFollow},
		{"WatermarksTailsInRequestedOrder", testWatermarksTails},
		{"FirstPrevIsBase", testFirstPrev},

		{"FeedAnnouncesTicket", testFeedTicket},
		{"FeedDeliversInOrder", testFeedOrder},
		{"FeedOfManyRooms", testFeedManyRooms},
		{"FeedChurnEndsWithLastTicket", testFeedChurn},
		{"FeedJoinRacesAppends", testFeedJoinRace},
		{"FeedStopsAfterLeave", testFeedLeave},
		{"FeedReportsLostToSlowReader", testFeedSlow},
		{"FeedsAreIndependent", testFeedsIndependent},
		{"LiveEventIsReadable", testLiveAfterLogged},
		{"TraceIsLiveOnly", testTrace},

		{"RestartKeepsEverything", testRestart},
		{"NodesShareOneLog", testNodes},
		{"CancelledContextIsHonoured", testCancelled},
		{"ClosedLogReturnsErrClosed", testClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t)
			tt.run(&test{T: t, Harness: h, ctx: t.Context()})
		})
	}
}
