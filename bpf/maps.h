/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The maps. Each says who writes it, who reads it, and how long an entry lives.
 * All are pinned: they outlive the agent, and a change of layout needs a new name. */
#ifndef AMBIT_MAPS_H
#define AMBIT_MAPS_H

/* Addresses are 16 bytes in network order everywhere; IPv4 is ::ffff:a.b.c.d. */

enum verdict { V_NONE, V_LEG, V_PROBE };
enum listener_kind { L_INBOUND, L_OUTBOUND, L_HBONE };
enum probe_mode { PROBE_OFF, PROBE_CGROUP, PROBE_NODE };
enum pod_flag { POD_CAPTURE = 1 };

/* One CPU's cells are added up by the agent. Keep the order: bpf/counters.go names them. */
enum counter {
	C_OUTBOUND,      /* connects marked for capture */
	C_INBOUND,       /* SYNs handed to an inbound listener */
	C_HBONE,         /* SYNs handed to an HBONE listener */
	C_OUTBOUND_SYN,  /* marked SYNs handed to an outbound listener */
	C_LEG,           /* attested flows of the proxy's legs */
	C_PROBE,         /* attested flows of probes */
	C_EXCLUDED,      /* SYNs to excluded ports */
	C_NO_LISTENER,   /* SYNs refused: nobody listens for the pod */
	C_LEG_LIMIT,     /* legs refused: the pod's share of the flow map is used up */
	C_LEG_UNTRACKED, /* legs that could not be attested: the proxy sees them come back and refuses */
	C_PROBE_UNTRACKED, /* probes that could not be attested: they go through the proxy */
	C_CONNECT_REFUSED, /* connects refused: the socket could not be marked */
	C_MAX,
};

struct settings {
	__u64 host_cookie;  /* of the node's network namespace */
	__u64 probe_cgroup; /* id, with PROBE_CGROUP */
	__u32 probe_mode;
	__u32 leg_limit; /* live attested legs of one pod */
};

struct pod {
	__u32 ip6[4];
	__u32 ip4;
	__u32 mark;
	__u32 mask;
	__u32 flags;
	__u64 netns_ino; /* agent only: finds the namespace again */
	__u32 saved;     /* agent only: the pod's sysctls before enrolment */
	__u32 has6;
};

struct addr { __u32 ip[4]; };
struct listener_key { __u32 ip[4]; __u32 kind; };
struct port_key { __u32 ip[4]; __u32 port; };

struct tuple {
	__u32 sip[4], dip[4];
	__u16 sport, dport; /* host order */
};

struct attest { __u32 verdict; };

#define MAP(name, typ, n, k, v, fl)           \
	struct {                              \
		__uint(type, typ);            \
		__uint(max_entries, n);       \
		__uint(map_flags, fl);        \
		__type(key, k);               \
		__type(value, v);             \
	} name SEC(".maps")

/* Written by the agent at start and when the kubelet's cgroup is found; read by every hook. One entry. */
MAP(settings, BPF_MAP_TYPE_ARRAY, 1, __u32, struct settings, 0);

/* Key: cookie of a pod's network namespace. Written by the agent: entry from the first step of enrolment until the last
 * proxied connection of an un-enrolled pod has ended; read by the connect hooks. */
MAP(pods, BPF_MAP_TYPE_HASH, 4096, __u64, struct pod, BPF_F_NO_PREALLOC);

/* Key: address of a pod whose inbound is captured. Value: its namespace cookie. Written by the agent with the sk_lookup
 * link; read by the connect hooks to tell which connects of the node are probes. */
MAP(addresses, BPF_MAP_TYPE_HASH, 8192, struct addr, __u64, BPF_F_NO_PREALLOC);

/* Key: id of a node proxy's cgroup. Written by the agent from the ZDS handshake until the session has ended and no process
 * is left in the cgroup; read by the connect hooks. */
MAP(proxies, BPF_MAP_TYPE_HASH, 64, __u64, __u32, BPF_F_NO_PREALLOC);

/* Written by the agent (sockets drop out when their last descriptor is closed); read by steer. */
MAP(listeners, BPF_MAP_TYPE_SOCKHASH, 32768, struct listener_key, __u64, 0);

/* Ports that reach the application uncaptured. Written by the agent with the pod; read by steer. */
MAP(excluded, BPF_MAP_TYPE_HASH, 16384, struct port_key, __u32, BPF_F_NO_PREALLOC);

/* The connect hook's verdict on a socket: sockops cannot read the cgroup on 6.1. Written by the connect hooks at every
 * connect, read by sockops. Lives with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct attest);
} attested SEC(".maps");

/* Attested flows of the proxy's legs to applications. Value: cookie of the pod. Written by sockops from connect to CLOSE
 * and swept by the agent when the address leaves; read by steer. A pod holds settings.leg_limit at most. */
MAP(legs, BPF_MAP_TYPE_HASH, 262144, struct tuple, __u64, BPF_F_NO_PREALLOC);

/* Key: cookie of a pod. Value: its live entries in legs. Made and removed by the agent with the pod; counted by sockops. */
MAP(leg_count, BPF_MAP_TYPE_HASH, 4096, __u64, __u64, BPF_F_NO_PREALLOC);

/* Attested flows of probes; apart from legs, so that no pod can crowd a probe out. Value: cookie of the pod. Written by
 * sockops from connect to CLOSE and swept by the agent when the address leaves; read by steer. */
MAP(probes, BPF_MAP_TYPE_HASH, 16384, struct tuple, __u64, BPF_F_NO_PREALLOC);

/* enum counter. Written by every hook, read by the agent. */
MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, C_MAX, __u32, __u64, 0);

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &which);
	if (n)
		(*n)++;
}

static __always_inline struct settings *get_settings(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline bool same(const __u32 *a, const __u32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

#define V4MAPPED bpf_htonl(0xffff)

#endif
