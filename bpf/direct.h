/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Direct flows: connections between two enrolled pods of this node that the kernel carries past the proxy, because the
 * proxy has allowed them. The connect hook finds a verdict; sockops looks at it again once the flow is recorded; only then
 * the destination's lookup lets the flow through. Whatever is in doubt turns back to the proxy. */

enum { ENDS = 8 };
enum direct_state { D_NONE, D_TURNED, D_JUDGED, D_SENT, D_OPEN };

/* One CPU's cells are added up by the agent. Keep the order: bpf/direct.go names them. */
enum direct_counter {
	DC_FLOWS,   /* connections that went direct */
	DC_TURNED,  /* judged, then turned back to the proxy: stale, over budget, no room, an address not the pod's own */
	DC_LOST,    /* could not be turned back: they reach the destination's proxy in plaintext */
	DC_UNTOLD,  /* ended while there was no room to tell of it: no line in the access log */
	DC_MAX,
};

/* Written by the proxy that is in charge, through memory that it shares. */
struct gate {
	__u64 generation; /* of its snapshot, raised before the snapshot is published */
	__u64 lease;      /* CLOCK_MONOTONIC in ns, until when it answers for its verdicts */
};

struct call { __u64 netns; __u32 ip[4]; __u32 port; __u32 zero; };
struct end { __u32 ip[4]; __u32 port; };
struct way { __u64 netns; __u32 ip[4]; __u32 port; __u32 zero; };
struct direct_verdict {
	__u64 generation;
	__u32 n;
	__u32 zero;
	struct way ways[ENDS]; /* where the call may lead; of a call to a pod, the pod */
};

/* From which namespace, what was called, and to which one it led. */
struct account_key { __u64 netns; __u32 called[4]; struct way to; __u32 called_port; __u32 zero; };
struct account {
	__u64 opened, closed, failed; /* connections; failed ones are not among the others */
	__u64 sent, received;         /* bytes of closed ones, as the caller sees it */
	__u64 failed_at;              /* CLOCK_MONOTONIC in ns */
};
struct flow {
	struct account_key account;
	__u64 socket; /* cookie */
	__u64 opened; /* CLOCK_MONOTONIC in ns */
};
struct direct {
	struct account_key account;
	__u64 generation;
	__u64 before; /* bytes received when our FIN was acknowledged */
	__u64 opened; /* CLOCK_MONOTONIC in ns */
	__u32 state;
	__u32 zero;
};
/* A connection that has ended; bpf/ended.go has the same. */
struct ended {
	struct account_key account;
	__u64 opened, closed; /* CLOCK_MONOTONIC in ns */
	__u64 sent, received;
	__u32 port; /* the caller's */
	__u32 zero;
};
struct budget { __u64 live, limit; };

#define LEASE_MOST 10000000000ULL /* ns: a longer lease is of another clock */
#define REST 30000000000ULL       /* ns after a failed connect: the proxy tries elsewhere, and tells the balancer */

/* One entry. Emptied by the agent when no proxy is in charge; written by the proxy; read by connect hooks and sockops. */
MAP(gate, BPF_MAP_TYPE_ARRAY, 1, __u32, struct gate, BPF_F_MMAPABLE);

/* Written by the agent as the proxy says; emptied at the agent's start and at the end of a proxy's session; entries of a
 * pod or its address go before the pod does. Read by connect hooks and sockops. */
MAP(verdicts, BPF_MAP_TYPE_HASH, 65536, struct call, struct direct_verdict, BPF_F_NO_PREALLOC);

/* Made by the agent with the verdict, removed by it after the proxy has read what is left; counted by sockops. */
MAP(accounts, BPF_MAP_TYPE_HASH, 65536, struct account_key, struct account, BPF_F_NO_PREALLOC);

/* Key: cookie of the calling pod. Made and removed by the agent with the pod; counted by sockops. */
MAP(budgets, BPF_MAP_TYPE_HASH, 4096, __u64, struct budget, BPF_F_NO_PREALLOC);

/* Attested direct flows. Written by sockops from connect to CLOSE and swept by the agent when the address leaves; read by
 * steer. A pod holds budget.limit at most. */
MAP(direct_flows, BPF_MAP_TYPE_HASH, 262144, struct tuple, struct flow, BPF_F_NO_PREALLOC);

/* The verdict that a socket goes by. Written by the connect hooks and sockops. Lives with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct direct);
} directs SEC(".maps");

/* struct ended. Written by sockops, without waking anybody; read by the agent when the proxy asks. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} direct_ended SEC(".maps");

/* enum direct_counter. Written by sockops, read by the agent. */
MAP(direct_counters, BPF_MAP_TYPE_PERCPU_ARRAY, DC_MAX, __u32, __u64, 0);

static __always_inline void count_direct(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&direct_counters, &which);
	if (n)
		(*n)++;
}

/* The proxy stands by a verdict of this generation now. */
static __always_inline bool stands(__u64 generation)
{
	__u32 zero = 0;
	volatile struct gate *g = bpf_map_lookup_elem(&gate, &zero);
	if (!g || g->generation != generation)
		return false;
	__u64 lease = g->lease, now = bpf_ktime_get_ns();
	return lease > now && lease - now <= LEASE_MOST;
}

static __always_inline struct direct_verdict *verdict_on(__u64 netns, const __u32 *ip, __u32 port)
{
	struct call c = { .netns = netns, .port = port };
	__builtin_memcpy(c.ip, ip, sizeof(c.ip));
	return bpf_map_lookup_elem(&verdicts, &c);
}

static __always_inline void forget_direct(struct bpf_sock *sk)
{
	struct direct *d = bpf_sk_storage_get(&directs, sk, 0, 0);
	if (d)
		d->state = D_NONE;
}

/* A captured pod calls dst: true if the call may go direct, to what dst is then. */
static __always_inline bool go_direct(struct bpf_sock *sk, __u64 netns, struct end *dst)
{
	struct direct_verdict *v = verdict_on(netns, dst->ip, dst->port);
	if (!v || !v->n || !stands(v->generation))
		return false;
	if (sk->bound_dev_if)
		return false; /* the proxy's path knows what to do with it */
	__u32 i = (bpf_get_prandom_u32() % v->n) & (ENDS - 1); /* n is ENDS at most: the mask is for the verifier */
	struct account_key k = { .netns = netns, .to = v->ways[i], .called_port = dst->port };
	__builtin_memcpy(k.called, dst->ip, sizeof(k.called));
	struct account *a = bpf_map_lookup_elem(&accounts, &k);
	if (!a || (a->failed_at && bpf_ktime_get_ns() - a->failed_at < REST))
		return false;
	struct direct *d = bpf_sk_storage_get(&directs, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!d)
		return false;
	d->account = k;
	d->generation = v->generation;
	d->before = 0;
	d->state = D_JUDGED;
	__builtin_memcpy(dst->ip, k.to.ip, sizeof(dst->ip));
	dst->port = k.to.port;
	return true;
}

/* What the application called, where the connect hook led it elsewhere. */
static __always_inline bool called(struct bpf_sock_addr *ctx, struct end *peer)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return false;
	struct direct *d = bpf_sk_storage_get(&directs, sk, 0, 0);
	if (!d || d->state == D_NONE)
		return false;
	__builtin_memcpy(peer->ip, d->account.called, sizeof(peer->ip));
	peer->port = d->account.called_port;
	return true;
}

SEC("cgroup/getpeername4")
int ambit_peername4(struct bpf_sock_addr *ctx)
{
	struct end peer;
	if (called(ctx, &peer)) {
		ctx->user_ip4 = peer.ip[3];
		ctx->user_port = bpf_htons(peer.port);
	}
	return 1;
}

SEC("cgroup/getpeername6")
int ambit_peername6(struct bpf_sock_addr *ctx)
{
	struct end peer;
	if (called(ctx, &peer)) {
		ctx->user_ip6[0] = peer.ip[0];
		ctx->user_ip6[1] = peer.ip[1];
		ctx->user_ip6[2] = peer.ip[2];
		ctx->user_ip6[3] = peer.ip[3];
		ctx->user_port = bpf_htons(peer.port);
	}
	return 1;
}
