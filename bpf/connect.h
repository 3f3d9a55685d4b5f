/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Connect: judge the socket, leave the verdict in its storage, mark what is to be captured. The address is not rewritten. */

enum { REFUSE, GO_ON };

static __always_inline bool remember(struct bpf_sock *sk, __u32 verdict)
{
	struct attest *a = bpf_sk_storage_get(&attested, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!a)
		return false;
	a->verdict = verdict;
	return true;
}

/* A socket may connect again after a failure: the old verdict must not stand for the new address. */
static __always_inline void forget(struct bpf_sock *sk)
{
	struct attest *a = bpf_sk_storage_get(&attested, sk, 0, 0);
	if (a)
		a->verdict = V_NONE;
	forget_direct(sk);
}

/* Only the kubelet, from the node's own namespace, towards a pod whose inbound is captured. Never by address. */
static __always_inline int judge_node(struct bpf_sock *sk, __u64 netns, const __u32 *ip)
{
	struct addr dst;
	struct settings *s = get_settings();
	if (!s || s->probe_mode == PROBE_OFF || netns != s->host_cookie)
		return GO_ON;
	if (s->probe_mode == PROBE_CGROUP && bpf_get_current_cgroup_id() != s->probe_cgroup)
		return GO_ON;
	__builtin_memcpy(dst.ip, ip, sizeof(dst.ip));
	if (bpf_map_lookup_elem(&addresses, &dst) && !remember(sk, V_PROBE))
		count(C_PROBE_UNTRACKED);
	return GO_ON;
}

/* The proxy's own connects are never captured. Of them only the leg to this pod's application is attested: it carries the
 * mark. A dial upstream does not, and so stays under the destination's inbound policy. */
static __always_inline int judge_proxy(struct bpf_sock *sk, __u64 netns, const struct pod *p, bool to_self)
{
	if (!to_self || (sk->mark & p->mask) != p->mark)
		return GO_ON;
	struct settings *s = get_settings();
	__u64 *n = bpf_map_lookup_elem(&leg_count, &netns);
	if (!s || !n || *n >= s->leg_limit) {
		count(C_LEG_LIMIT);
		return REFUSE;
	}
	if (remember(sk, V_LEG))
		return GO_ON;
	count(C_LEG_UNTRACKED);
	return REFUSE; /* unattested it would be steered to the proxy again */
}

/* SO_BINDTODEVICE would skip our table, and needs no capability: clear it. */
static __always_inline int mark(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct pod *p)
{
	int m = p->mark;
	char none[4] = "";
	if (sk->bound_dev_if > 1 && bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none)))
		goto refuse;
	if (bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &m, sizeof(m)))
		goto refuse;
	count(C_OUTBOUND);
	return GO_ON;
refuse:
	count(C_CONNECT_REFUSED);
	return REFUSE;
}

/* A socket that was captured once and connects again after the pod was un-enrolled: its mark would lead it to lo, where
 * nobody listens for it any more. */
static __always_inline int unmark(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct pod *p)
{
	int none = 0;
	if ((sk->mark & p->mask) == p->mark && bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &none, sizeof(none))) {
		count(C_CONNECT_REFUSED);
		return REFUSE;
	}
	return GO_ON;
}

static __always_inline bool stays_inside4(__u32 ip)
{
	return ip == 0 || (bpf_ntohl(ip) >> 24) == 127;
}

/* ::, ::1, and link-local, which names a device and not a place that a proxy could reach for the pod. */
static __always_inline bool stays_inside6(const __u32 *ip)
{
	if ((bpf_ntohl(ip[0]) >> 22) == (0xfe80 >> 6))
		return true;
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && (ip[3] == 0 || ip[3] == bpf_htonl(1));
}

/* dst may be another place afterwards. */
static __always_inline int judge(struct bpf_sock_addr *ctx, struct end *dst, bool v4)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct bpf_sock *sk = ctx->sk; /* once: two reads are two unchecked pointers to the verifier */
	if (!sk)
		return GO_ON;
	forget(sk);
	struct pod *p = bpf_map_lookup_elem(&pods, &netns);
	if (!p)
		return judge_node(sk, netns, dst->ip);
	bool to_self = v4 ? (p->ip4 && dst->ip[3] == p->ip4) : (p->has6 && same(dst->ip, p->ip6));
	__u64 cgroup = bpf_get_current_cgroup_id();
	if (bpf_map_lookup_elem(&proxies, &cgroup))
		return judge_proxy(sk, netns, p, to_self);
	if (to_self)
		return GO_ON;
	if (!(p->flags & POD_CAPTURE))
		return unmark(ctx, sk, p);
	if (v4 ? (!p->ip4 || stays_inside4(dst->ip[3])) : (!p->has6 || stays_inside6(dst->ip)))
		return GO_ON;
	if (go_direct(sk, netns, dst))
		return unmark(ctx, sk, p);
	return mark(ctx, sk, p);
}

SEC("cgroup/connect4")
int ambit_connect4(struct bpf_sock_addr *ctx)
{
	if (ctx->protocol != IPPROTO_TCP)
		return GO_ON;
	__u32 ip = ctx->user_ip4, port = bpf_ntohs(ctx->user_port);
	struct end dst = { { 0, 0, V4MAPPED, ip }, port };
	int r = judge(ctx, &dst, true);
	if (dst.ip[3] != ip || dst.port != port) {
		ctx->user_ip4 = dst.ip[3];
		ctx->user_port = bpf_htons(dst.port);
	}
	return r;
}

SEC("cgroup/connect6")
int ambit_connect6(struct bpf_sock_addr *ctx)
{
	if (ctx->protocol != IPPROTO_TCP)
		return GO_ON;
	__u32 port = bpf_ntohs(ctx->user_port);
	struct end dst = { { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] }, port };
	const struct end asked = dst;
	int r = judge(ctx, &dst, dst.ip[0] == 0 && dst.ip[1] == 0 && dst.ip[2] == V4MAPPED);
	if (!same(dst.ip, asked.ip) || dst.port != port) {
		ctx->user_ip6[0] = dst.ip[0];
		ctx->user_ip6[1] = dst.ip[1];
		ctx->user_ip6[2] = dst.ip[2];
		ctx->user_ip6[3] = dst.ip[3];
		ctx->user_port = bpf_htons(dst.port);
	}
	return r;
}
