module keyfob.invalid/benchmarks/peer

go 1.21
