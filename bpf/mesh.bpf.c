//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
// Redirection of pod traffic to the node's proxy: mark at connect, route to lo, sk_lookup to the proxy's listener.
#include "vmlinux.h"
#include "headers/bpf_helpers.h"
#include "headers/bpf_endian.h"
#include "maps.h"
#include "direct.h"
#include "connect.h"
#include "sockops.h"
#include "steer.h"

char _license[] SEC("license") = "Dual BSD/GPL";
