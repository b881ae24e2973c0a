topspin_bench(store_write SOURCES store_write.cc LINKS topspin_store)
topspin_bench(workers_store SOURCES workers_store.cc LINKS topspin_store topspin_load fmt::fmt)
