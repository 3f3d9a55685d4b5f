// Package meshpb holds the messages that cross process borders, one package per protobuf package.
// The .proto files are our own; numbers and protobuf package names are those of the protocols they speak.
package meshpb

//go:generate sh -c "cd ../.. && protoc -I . -I /usr/include --go_out=. --go_opt=module=github.com/ambitmesh/ambit --go-grpc_out=. --go-grpc_opt=module=github.com/ambitmesh/ambit internal/meshpb/*/*.proto"
