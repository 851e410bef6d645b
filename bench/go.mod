module github.com/tidemark/tidemark/bench

go 1.26.0
