package bpf

// The committed object is made by Debian's clang-19 and llvm-strip-19, version 19.1.7; another version may
// give other bytes. bpf2go maps the working directory away, so that the object does not depend on where the
// source lies.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type way -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I." mesh mesh.bpf.c
