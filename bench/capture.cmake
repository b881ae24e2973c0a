topspin_bench(capture_generate SOURCES capture_generate.cc LINKS fmt::fmt)
topspin_bench(capture_read SOURCES capture_read.cc LINKS topspin_capture fmt::fmt PkgConfig::PCAP)
topspin_bench(capture_live SOURCES capture_live.cc LINKS topspin_capture fmt::fmt Threads::Threads)
topspin_bench(capture_flood SOURCES capture_flood.cc LINKS topspin_capture fmt::fmt)
