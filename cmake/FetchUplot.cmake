# Fetches uPlot, which draws the HTML report's plots, and unpacks it. Run by the build as a script:
#   cmake -DARCHIVE= -DNPM=/usr/bin/npm -DDESTINATION=DIR -P FetchUplot.cmake
# ARCHIVE is a file given by the user instead. Either way it is the pinned version or the build ends.
set(version 1.6.32)
set(sha512 2883159c6ebccefbb95d751b0b82d010f9e1c0ec41b8bc96d401eda66e882935c89a46cb824332fa369b8cb8122cc6ac36e186cd09bf7a9ded3a4c93c6989023)

file(MAKE_DIRECTORY ${DESTINATION})
if(NOT ARCHIVE)
  set(ARCHIVE ${DESTINATION}/uplot-${version}.tgz)
  execute_process(COMMAND ${NPM} pack uplot@${version} --pack-destination ${DESTINATION} --ignore-scripts --prefer-offline
                  WORKING_DIRECTORY ${DESTINATION} RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE said)
  if(NOT result EQUAL 0 OR NOT EXISTS ${ARCHIVE})
    message(FATAL_ERROR "npm could not fetch uplot@${version}, which the HTML report's plots need. Without a network, give its "
                        "package with -DTOPSPIN_UPLOT_ARCHIVE=uplot-${version}.tgz, or build reports without plots with "
                        "-DTOPSPIN_PLOTS=OFF. npm said:\n${said}")
  endif()
endif()
file(SHA512 ${ARCHIVE} found)
if(NOT found STREQUAL sha512)
  message(FATAL_ERROR "${ARCHIVE} is not the pinned uplot@${version}: its SHA-512 is ${found}, not ${sha512}")
endif()
# Touched: the files in the package are older than this script, and would be made anew each time.
file(ARCHIVE_EXTRACT INPUT ${ARCHIVE} DESTINATION ${DESTINATION} TOUCH)
foreach(file dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE)
  if(NOT EXISTS ${DESTINATION}/package/${file})
    message(FATAL_ERROR "uplot@${version} has no ${file}")
  endif()
endforeach()
