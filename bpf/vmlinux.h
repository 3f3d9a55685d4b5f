/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Of the kernel's types only those that the programs use, written down from the stable BPF ABI.
 * The verifier rewrites accesses to these contexts, so they need no relocation and no kernel BTF. */
#ifndef AMBIT_VMLINUX_H
#define AMBIT_VMLINUX_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;
enum { false, true };

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_SOCKHASH = 18,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum { BPF_ANY, BPF_NOEXIST };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1024 };
enum { BPF_SK_STORAGE_GET_F_CREATE = 1 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { BPF_SOCK_OPS_TCP_CONNECT_CB = 3, BPF_SOCK_OPS_STATE_CB = 10 };
enum { BPF_SOCK_OPS_STATE_CB_FLAG = 4 };
enum {
	BPF_TCP_ESTABLISHED = 1,
	BPF_TCP_FIN_WAIT2 = 5,
	BPF_TCP_CLOSE = 7,
	BPF_TCP_CLOSE_WAIT = 8,
	BPF_TCP_LAST_ACK = 9,
	BPF_TCP_CLOSING = 11,
};
enum { SK_DROP, SK_PASS };
enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_TCP = 6 };
enum { SOL_SOCKET = 1, SO_BINDTODEVICE = 25, SO_MARK = 36 };

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;    /* network order */
	__u32 user_ip6[4]; /* network order */
	__u32 user_port;   /* network order */
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__u32 remote_ip4;    /* network order */
	__u32 local_ip4;     /* network order */
	__u32 remote_ip6[4]; /* network order */
	__u32 local_ip6[4];  /* network order */
	__u32 remote_port;   /* network order, in the upper half */
	__u32 local_port;    /* host order */
	__u32 is_fullsock;
	__u32 unused_fields[7]; /* snd_cwnd .. rcv_nxt */
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 more_unused_fields[14]; /* mss_cache .. sk_txhash */
	__u64 bytes_received;
	__u64 bytes_acked;
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

struct bpf_sk_lookup {
	union {
		struct bpf_sock *sk;
		__u64 cookie;
	} __attribute__((aligned(8)));
	__u32 family;
	__u32 protocol;
	__u32 remote_ip4;    /* network order */
	__u32 remote_ip6[4]; /* network order */
	__be16 remote_port;
	__u16 : 16;
	__u32 local_ip4;    /* network order */
	__u32 local_ip6[4]; /* network order */
	__u32 local_port;   /* host order */
	__u32 ingress_ifindex;
};

#endif
