/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Direct flows in sockops: record, judge once more, account, forget. */

static __always_inline bool own_address(__u64 netns, const __u32 *ip)
{
	struct pod *p = bpf_map_lookup_elem(&pods, &netns);
	if (!p || !(p->flags & POD_CAPTURE))
		return false;
	if (ip[0] == 0 && ip[1] == 0 && ip[2] == V4MAPPED)
		return p->ip4 && ip[3] == p->ip4;
	return p->has6 && same(ip, p->ip6);
}

static __always_inline bool leads(const struct direct_verdict *v, const struct way *to)
{
	for (int i = 0; i < ENDS; i++)
		if (i < v->n && v->ways[i].netns == to->netns && v->ways[i].port == to->port && same(v->ways[i].ip, to->ip))
			return true;
	return false;
}

/* The verdict is looked up again after the flow was recorded: who withdraws a verdict, or raises the generation, and looks
 * at the flows afterwards sees every flow that went by it. The budget's counter is raised in between: that is a barrier. */
static __always_inline bool record(struct bpf_sock_ops *o, const struct tuple *t, struct direct *d, __u64 netns)
{
	struct budget *b = bpf_map_lookup_elem(&budgets, &netns);
	if (!b || d->account.netns != netns || !own_address(netns, t->sip))
		return false;
	if (!same(t->dip, d->account.to.ip) || t->dport != d->account.to.port)
		return false; /* changed between the two hooks */
	d->opened = bpf_ktime_get_ns();
	struct flow f = { .account = d->account, .socket = bpf_get_socket_cookie(o), .opened = d->opened };
	if (bpf_map_update_elem(&direct_flows, t, &f, BPF_NOEXIST))
		return false;
	if (__sync_fetch_and_add(&b->live, 1) < b->limit) {
		struct direct_verdict *v = verdict_on(netns, d->account.called, d->account.called_port);
		if (v && v->generation == d->generation && stands(d->generation) && leads(v, &d->account.to))
			return true;
	}
	bpf_map_delete_elem(&direct_flows, t);
	__sync_fetch_and_add(&b->live, -1);
	return false;
}

/* The route is looked up after this callback, so a mark that is set here still leads to the proxy. */
static __always_inline void turn_back(struct bpf_sock_ops *o, __u64 netns)
{
	struct pod *p = bpf_map_lookup_elem(&pods, &netns);
	int m = p ? p->mark : 0;
	count_direct(p && !bpf_setsockopt(o, SOL_SOCKET, SO_MARK, &m, sizeof(m)) ? DC_TURNED : DC_LOST);
}

static __always_inline void direct_connect(struct bpf_sock_ops *o, struct direct *d)
{
	struct tuple t = {};
	flow_of(o, &t);
	__u64 netns = bpf_get_netns_cookie(o);
	if (!record(o, &t, d, netns)) {
		d->state = D_TURNED; /* getpeername still tells what was called */
		turn_back(o, netns);
		return;
	}
	d->state = D_SENT;
	count_direct(DC_FLOWS);
	bpf_sock_ops_cb_flags_set(o, BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void tell(struct bpf_sock_ops *o, const struct direct *d, __u64 sent, __u64 received)
{
	struct ended *e = bpf_ringbuf_reserve(&direct_ended, sizeof(*e), 0);
	if (!e) {
		count_direct(DC_UNTOLD);
		return;
	}
	e->account = d->account;
	e->opened = d->opened;
	e->closed = bpf_ktime_get_ns();
	e->sent = sent;
	e->received = received;
	e->port = o->local_port;
	e->zero = 0;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* The kernel counts SYN and FIN as bytes. Our FIN was acknowledged if all that was sent is; the peer's has come in the
 * states after it, or with what came last. */
static __always_inline void settle(struct bpf_sock_ops *o, struct direct *d, struct account *a, __u32 from)
{
	__u64 sent = o->bytes_acked, received = o->bytes_received;
	bool fin_acked = from == BPF_TCP_FIN_WAIT2, fin_came = from == BPF_TCP_CLOSE_WAIT;
	if (from == BPF_TCP_LAST_ACK || from == BPF_TCP_CLOSING) {
		fin_acked = o->snd_una == o->snd_nxt;
		fin_came = true;
	}
	if (from == BPF_TCP_FIN_WAIT2)
		fin_came = received > d->before;
	sent -= sent > 0; /* SYN */
	sent -= fin_acked && sent > 0;
	received -= fin_came && received > 0;
	tell(o, d, sent, received);
	__sync_fetch_and_add(&a->sent, sent);
	__sync_fetch_and_add(&a->received, received);
	__sync_fetch_and_add(&a->closed, 1);
}

static __always_inline void drop_flow(struct bpf_sock_ops *o, const struct direct *d)
{
	struct tuple t = {};
	flow_of(o, &t);
	struct flow *f = bpf_map_lookup_elem(&direct_flows, &t);
	if (f && f->socket == bpf_get_socket_cookie(o))
		bpf_map_delete_elem(&direct_flows, &t); /* else the agent's sweep was first */
	__u64 netns = d->account.netns;
	struct budget *b = bpf_map_lookup_elem(&budgets, &netns);
	if (b && (__s64)b->live > 0)
		__sync_fetch_and_add(&b->live, -1);
}

static __always_inline void direct_closed(struct bpf_sock_ops *o, struct direct *d, __u32 from)
{
	drop_flow(o, d);
	struct account *a = bpf_map_lookup_elem(&accounts, &d->account);
	if (a && d->state == D_OPEN) {
		settle(o, d, a, from);
	} else if (a) {
		a->failed_at = bpf_ktime_get_ns();
		__sync_fetch_and_add(&a->failed, 1);
	}
	d->state = D_NONE;
}

static __always_inline void direct_moved(struct bpf_sock_ops *o, struct direct *d)
{
	__u32 from = o->args[0], to = o->args[1];
	if (to == BPF_TCP_CLOSE) {
		direct_closed(o, d, from);
	} else if (to == BPF_TCP_ESTABLISHED) {
		struct account *a = bpf_map_lookup_elem(&accounts, &d->account);
		if (a)
			__sync_fetch_and_add(&a->opened, 1);
		d->state = D_OPEN;
	} else if (to == BPF_TCP_FIN_WAIT2) {
		d->before = o->bytes_received;
	}
}

static __always_inline void direct_ops(struct bpf_sock_ops *o, struct bpf_sock *sk, __u32 op)
{
	struct direct *d = bpf_sk_storage_get(&directs, sk, 0, 0);
	if (!d || d->state <= D_TURNED)
		return;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		direct_connect(o, d);
	else if (d->state != D_JUDGED)
		direct_moved(o, d);
}
