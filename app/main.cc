#include "app/program.h"

int main(int argc, char** argv) { return topspin::run_program({argv, static_cast<size_t>(argc)}); }
