# `cmake --install` gives a working tree: installs into a fresh prefix, runs the program, and
# uninstalls it.
set(prefix ${BUILD_DIR}/install-test)
file(REMOVE_RECURSE ${prefix})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
foreach(file bin/topspin share/doc/topspin/README.md share/doc/topspin/LICENSE
        share/doc/topspin/docs/gate.md share/topspin/plans/http_close.toml share/topspin/subjects/server.js
        lib/systemd/system/topspin-record@.service lib/sysusers.d/topspin.conf
        share/topspin/container/Dockerfile share/topspin/kubernetes/daemonset.yaml
        libexec/topspin/run-gate libexec/topspin/post-comment share/bash-completion/completions/topspin
        share/zsh/site-functions/_topspin share/fish/vendor_completions.d/topspin.fish
        share/man/man1/topspin.1 share/man/man1/topspin-record.1 share/man/man1/topspin-load-http.1)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "not installed: ${file}")
  endif()
endforeach()
execute_process(COMMAND ${prefix}/bin/topspin --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
if(NOT version MATCHES "^topspin [0-9]")
  message(FATAL_ERROR "the installed program says: ${version}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -DBUILD_DIR=${BUILD_DIR} -P ${CMAKE_CURRENT_LIST_DIR}/../cmake/Uninstall.cmake
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE left ${prefix}/*)
if(left)
  message(FATAL_ERROR "not uninstalled: ${left}")
endif()
file(REMOVE_RECURSE ${prefix})
