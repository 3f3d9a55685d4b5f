/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* sockops: write an attested flow when a judged socket sends its SYN, remove it when the socket closes (not earlier: with
 * SYN cookies the destination's lookup comes again with the handshake's ACK). */

static __always_inline void flow_of(struct bpf_sock_ops *o, struct tuple *t)
{
	if (o->family == AF_INET) {
		t->sip[2] = t->dip[2] = V4MAPPED;
		t->sip[3] = o->local_ip4;
		t->dip[3] = o->remote_ip4;
		asm volatile("" ::: "memory"); /* keeps clang from merging the branches' context loads */
	} else {
		t->sip[0] = o->local_ip6[0];
		t->sip[1] = o->local_ip6[1];
		t->sip[2] = o->local_ip6[2];
		t->sip[3] = o->local_ip6[3];
		t->dip[0] = o->remote_ip6[0];
		t->dip[1] = o->remote_ip6[1];
		t->dip[2] = o->remote_ip6[2];
		t->dip[3] = o->remote_ip6[3];
		asm volatile("# v6" ::: "memory");
	}
	t->sport = o->local_port;
	t->dport = bpf_ntohl(o->remote_port);
}

#include "direct_ops.h"

/* The counter is raised before the entry is made, so that a pod can never hold more than its share. */
static __always_inline bool add_leg(const struct tuple *t, __u64 netns)
{
	struct settings *s = get_settings();
	__u64 *n = bpf_map_lookup_elem(&leg_count, &netns);
	if (!s || !n)
		return false;
	if (__sync_fetch_and_add(n, 1) < s->leg_limit && !bpf_map_update_elem(&legs, t, &netns, BPF_NOEXIST))
		return true;
	__sync_fetch_and_add(n, -1);
	return false;
}

static __always_inline void drop_leg(const struct tuple *t)
{
	__u64 *owner = bpf_map_lookup_elem(&legs, t);
	if (!owner)
		return;
	__u64 netns = *owner;
	if (bpf_map_delete_elem(&legs, t))
		return; /* the agent's sweep was first */
	__u64 *n = bpf_map_lookup_elem(&leg_count, &netns);
	if (n && (__s64)*n > 0) /* never below zero, were the pod's entry made anew meanwhile */
		__sync_fetch_and_add(n, -1);
}

static __always_inline bool add_probe(const struct tuple *t)
{
	struct addr dst;
	__builtin_memcpy(dst.ip, t->dip, sizeof(dst.ip));
	__u64 *pod = bpf_map_lookup_elem(&addresses, &dst);
	if (!pod)
		return false;
	__u64 netns = *pod;
	return !bpf_map_update_elem(&probes, t, &netns, BPF_ANY);
}

SEC("sockops")
int ambit_sockops(struct bpf_sock_ops *o)
{
	__u32 op = o->op;
	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	struct bpf_sock *sk = o->sk;
	if (!sk)
		return 1;
	direct_ops(o, sk, op);
	if (op == BPF_SOCK_OPS_STATE_CB && o->args[1] != BPF_TCP_CLOSE)
		return 1;
	struct attest *a = bpf_sk_storage_get(&attested, sk, 0, 0);
	if (!a || a->verdict == V_NONE)
		return 1;
	__u32 verdict = a->verdict;
	struct tuple t = {};
	flow_of(o, &t);
	if (op == BPF_SOCK_OPS_STATE_CB) {
		if (verdict == V_LEG)
			drop_leg(&t);
		else
			bpf_map_delete_elem(&probes, &t);
		a->verdict = V_NONE;
		return 1;
	}
	bool leg = verdict == V_LEG;
	bool ok = leg ? add_leg(&t, bpf_get_netns_cookie(o)) : add_probe(&t);
	if (!ok) {
		a->verdict = V_NONE;
		count(leg ? C_LEG_UNTRACKED : C_PROBE_UNTRACKED);
		return 1;
	}
	count(leg ? C_LEG : C_PROBE);
	bpf_sock_ops_cb_flags_set(o, BPF_SOCK_OPS_STATE_CB_FLAG);
	return 1;
}
