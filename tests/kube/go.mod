module github.com/ambitmesh/ambit/tests/kube

go 1.26.0

require github.com/ambitmesh/ambit v0.0.0

replace github.com/ambitmesh/ambit => ../..
