/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* steer: one sk_lookup program, linked to every enrolled namespace. It sees no namespace: the pod is known by address. */

static __always_inline bool syn_of(struct bpf_sk_lookup *ctx, struct tuple *t)
{
	if (ctx->family == AF_INET) {
		t->sip[2] = t->dip[2] = V4MAPPED;
		t->sip[3] = ctx->remote_ip4;
		t->dip[3] = ctx->local_ip4;
		bool loopback = (bpf_ntohl(t->dip[3]) >> 24) == 127;
		asm volatile("" ::: "memory"); /* keeps clang from merging the branches' context loads */
		return !loopback;
	}
	t->sip[0] = ctx->remote_ip6[0];
	t->sip[1] = ctx->remote_ip6[1];
	t->sip[2] = ctx->remote_ip6[2];
	t->sip[3] = ctx->remote_ip6[3];
	t->dip[0] = ctx->local_ip6[0];
	t->dip[1] = ctx->local_ip6[1];
	t->dip[2] = ctx->local_ip6[2];
	t->dip[3] = ctx->local_ip6[3];
	asm volatile("# v6" ::: "memory");
	return !(t->dip[0] == 0 && t->dip[1] == 0 && t->dip[2] == 0 && t->dip[3] == bpf_htonl(1));
}

/* No listener means no proxy and no agent hold one: refuse rather than reach the application unjudged. */
static __always_inline int hand_over(struct bpf_sk_lookup *ctx, const __u32 *ip, __u32 kind, __u32 counter)
{
	struct listener_key k = { .kind = kind };
	__builtin_memcpy(k.ip, ip, sizeof(k.ip));
	struct bpf_sock *sk = bpf_map_lookup_elem(&listeners, &k);
	if (!sk) {
		count(C_NO_LISTENER);
		return SK_DROP;
	}
	long err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	if (err)
		return SK_DROP;
	count(counter);
	return SK_PASS;
}

static __always_inline bool is_excluded(const struct tuple *t)
{
	struct port_key k = { .port = t->dport };
	__builtin_memcpy(k.ip, t->dip, sizeof(k.ip));
	return bpf_map_lookup_elem(&excluded, &k);
}

SEC("sk_lookup")
int ambit_steer(struct bpf_sk_lookup *ctx)
{
	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	struct tuple t = {};
	if (!syn_of(ctx, &t))
		return SK_PASS; /* loopback */
	if (same(t.sip, t.dip))
		return SK_PASS; /* the pod to itself */
	/* Through our table: outbound of the pod whose address is the source. (Local traffic to a pod's own address reports the
	 * device that owns the address, never lo.) */
	if (ctx->ingress_ifindex == 1)
		return hand_over(ctx, t.sip, L_OUTBOUND, C_OUTBOUND_SYN);
	t.dport = ctx->local_port;
	t.sport = bpf_ntohs(ctx->remote_port);
	if (t.dport == 15008)
		return hand_over(ctx, t.dip, L_HBONE, C_HBONE);
	if (bpf_map_lookup_elem(&legs, &t) || bpf_map_lookup_elem(&probes, &t) || bpf_map_lookup_elem(&direct_flows, &t))
		return SK_PASS;
	if (is_excluded(&t)) {
		count(C_EXCLUDED);
		return SK_PASS;
	}
	return hand_over(ctx, t.dip, L_INBOUND, C_INBOUND);
}
