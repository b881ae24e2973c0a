topspin_bench(capture_generate SOURCES capture_generate.cc LINKS fmt::fmt)
topspin_bench(capture_read SOURCES capture_read.cc LINKS topspin_capture fmt::fmt PkgConfig::PCAP)
