package enginetest

import "testing"

type testCase struct {
	name string
	run  func(engines, *testing.T)
}

// alone are the cases that one engine serves.
func alone() []testCase {
	return []testCase{
		{"NoDescriptors", engines.noDescriptors},
		{"Flood", engines.flood},
		{"ListenerOutlivesEngine", engines.listenerOutlivesEngine},
		{"ServeTwice", engines.serveTwice},
		{"ServeBadFD", engines.serveBadFD},
		{"Kill", engines.kill},
		{"Wait", engines.wait},
		{"Remove", engines.remove},
		{"RemoveDestination", engines.removeDestination},
		{"ConnectionLimit", engines.connectionLimit},
		{"Loop", engines.loop},
		{"DeliverKeepsSource", engines.deliverKeepsSource},
		{"DeliverManyPorts", engines.deliverManyPorts},
		{"ListenInNamespace", engines.listenInNamespace},
		{"ThreadsComeHome", engines.threadsComeHome},
		{"BadAuthority", engines.badAuthority},
		{"ManyFail", engines.manyFail},
		{"DialTimeout", engines.dialTimeout},
		{"DialRefused", engines.dialRefused},
		{"SmallPeer", engines.smallPeer},
		{"Headers", engines.headers},
		{"BadRequest", engines.badRequest},
		{"SmallRecords", engines.smallRecords},
		{"SmallRecordsBack", engines.smallRecordsBack},
		{"WildRecords", engines.wildRecords},
	}
}

// together are the cases of tunnels between two engines.
func together() []testCase {
	return []testCase{
		{"Relay", engines.relay},
		{"HalfCloseClientFirst", engines.halfCloseClientFirst},
		{"HalfCloseServerFirst", engines.halfCloseServerFirst},
		{"ResetByServer", engines.resetByServer},
		{"ResetByClient", engines.resetByClient},
		{"ServerFirst", engines.serverFirst},
		{"EarlyData", engines.earlyData},
		{"EarlyDataTwice", engines.earlyDataTwice},
		{"EarlyDataLost", engines.earlyDataLost},
		{"Urgent", engines.urgent},
		{"Pieces", engines.pieces},
		{"Scripts", engines.scripts},
		{"Trickle", engines.trickle},
		{"Bulk", engines.bulk},
		{"Backpressure", engines.backpressure},
		{"Fair", engines.fair},
		{"IPv6", engines.ipv6},
		{"PeerLost", engines.peerLost},
		{"PeerFlood", engines.peerFlood},
		{"StalledHandshakes", engines.stalledHandshakes},
		{"BulkResets", engines.bulkResets},
		{"ScarceDescriptors", engines.scarceDescriptors},
		{"Recheck", engines.recheck},
		{"JudgedAgainBeforeRelay", engines.judgedAgainBeforeRelay},
		{"RemoveServer", engines.removeServer},
		{"Drain", engines.drain},
		{"DrainIdle", engines.drainIdle},
		{"DrainCut", engines.drainCut},
		{"StreamLimit", engines.streamLimit},
		{"HandshakeLimit", engines.handshakeLimit},
		{"TunnelLimit", engines.tunnelLimit},
		{"ServerTunnelLimit", engines.serverTunnelLimit},
		{"SlowReaders", engines.slowReaders},
		{"QueueLimit", engines.queueLimit},
		{"PoolReuse", engines.poolReuse},
		{"PoolKey", engines.poolKey},
		{"PoolGrows", engines.poolGrows},
		{"PoolIdle", engines.poolIdle},
		{"PoolStale", engines.poolStale},
		{"Rolling", engines.rolling},
		{"RootRotation", engines.rootRotation},
		{"Statuses", engines.statuses},
		{"ServerDialFails", engines.serverDialFails},
		{"NextEndpoint", engines.nextEndpoint},
		{"Peers", engines.peers},
		{"ExpiredClient", engines.expiredClient},
		{"Garbage", engines.garbage},
		{"SilentPeer", engines.silentPeer},
		{"NoCert", engines.noCert},
		{"ExpiryUnderTraffic", engines.expiryUnderTraffic},
		{"Chaos", engines.chaos},
	}
}
