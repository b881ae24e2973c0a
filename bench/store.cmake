topspin_bench(store_write SOURCES store_write.cc LINKS topspin_store)
