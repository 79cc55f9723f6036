# Every target installs what it needs, can be repeated, and writes only below .build and target (and
# the extension into the server that PG_CONFIG names).
#
#   PG_CONFIG       the server to use; default Debian's PostgreSQL 15
#   OROCHI_TEST_18  1: make test runs on PostgreSQL 18 built with assertions as well
export PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
pg18 := .build/pg18/bin/pg_config

.DEFAULT_GOAL := help
.PHONY: help demo psql stop install test check-unit lint bench

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## start a private server with real data and show what Orochi does
	@scripts/demo

psql: ## connect to the demo's server
	@scripts/server psql

stop: ## stop the demo's server and remove its data
	@scripts/server stop

install: ## build the extension and install it into PG_CONFIG's server
	@scripts/install

test: ## every test, on PG_CONFIG's server
	@scripts/test all
ifeq ($(OROCHI_TEST_18),1)
	@scripts/setup source-build
	@scripts/build-postgres 18
	@PG_CONFIG=$(CURDIR)/$(pg18) scripts/test all
endif

check-unit: ## only the tests that cargo runs
	@scripts/test unit

lint: ## formatting and clippy, without warnings
	@scripts/lint

bench: ## measure columnar tables against heaps (OROCHI_BENCH_SCALE years of flights, default 10)
	@scripts/bench
