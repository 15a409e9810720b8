# The page of `unbraid report`: web/ and uPlot, which npm brings, made one by web/build.js at build
# time. unbraid_report_page(<target>) embeds it as report_page.h.
option(UNBRAID_WITH_REPORT "Build the command report; needs npm" ON)
if(UNBRAID_WITH_REPORT)
  find_program(UNBRAID_NPM npm)
  find_program(UNBRAID_NODE NAMES node nodejs)
  mark_as_advanced(UNBRAID_NPM UNBRAID_NODE)
  if(NOT UNBRAID_NPM OR NOT UNBRAID_NODE)
    message(FATAL_ERROR "The command report needs npm, which is not there: install it (Debian: "
      "apt install npm), or build without that command by -DUNBRAID_WITH_REPORT=OFF")
  endif()
endif()

# unbraid_npm_install(<folder> <source folder>): OUTPUT rule for <folder>/installed, after which
# <folder>/node_modules has what the source folder's package-lock.json says.
function(unbraid_npm_install folder source)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(OUTPUT "${folder}/installed"
    COMMAND ${CMAKE_COMMAND} -E copy "${source}/package.json" "${source}/package-lock.json" .
    COMMAND "${UNBRAID_NPM}" ci --ignore-scripts --no-audit --no-fund --fetch-retries=5
      --loglevel=error
    COMMAND ${CMAKE_COMMAND} -E touch installed
    WORKING_DIRECTORY "${folder}"
    DEPENDS "${source}/package.json" "${source}/package-lock.json"
    COMMENT "npm ci for ${source}" VERBATIM)
endfunction()

function(unbraid_report_page target)
  set(source "${PROJECT_SOURCE_DIR}/web")
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/web")
  file(GLOB files CONFIGURE_DEPENDS "${source}/*.html" "${source}/*.css" "${source}/*.js"
    "${source}/src/*.js")
  unbraid_npm_install("${folder}" "${source}")
  add_custom_command(OUTPUT "${folder}/report_page.h"
    COMMAND "${UNBRAID_NODE}" "${source}/build.js" "${folder}/node_modules" "${folder}"
    DEPENDS "${folder}/installed" ${files}
    COMMENT "Page of the report" VERBATIM)
  add_custom_target(unbraid_report_page DEPENDS "${folder}/report_page.h")
  add_dependencies(${target} unbraid_report_page)
  target_include_directories(${target} PRIVATE "${folder}")
  target_compile_definitions(${target} PRIVATE UNBRAID_WITH_REPORT)
endfunction()
