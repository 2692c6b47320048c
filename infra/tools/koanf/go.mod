// Empty: go.work says why.
module github.com/knadh/koanf

go 1.26.0
