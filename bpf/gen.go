package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I." mesh mesh.bpf.c -type settings -type pod -type addr -type listener_key -type port_key -type tuple
