# Debian packages, one of each program: cpack --config build/release/CPackConfig.cmake
include(GNUInstallDirs)
set(HEARTH_UNITS lib/systemd/system)
foreach(program hearth hearth-router hearth-cachenode)
  install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${program})
endforeach()
foreach(program router cachenode)
  set(component hearth-${program})
  install(FILES deploy/systemd/hearth-${program}.service DESTINATION /${HEARTH_UNITS} COMPONENT ${component})
  install(FILES deploy/systemd/hearth.sysusers DESTINATION /usr/lib/sysusers.d
          RENAME hearth-${program}.conf COMPONENT ${component})
  install(FILES deploy/config/${program}.yaml DESTINATION /etc/hearth COMPONENT ${component}
          PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
  set(upper ROUTER)
  if(program STREQUAL cachenode)
    set(upper CACHENODE)
  endif()
  set(CPACK_DEBIAN_HEARTH-${upper}_PACKAGE_CONTROL_EXTRA
      ${CMAKE_SOURCE_DIR}/deploy/debian/${program}/conffiles
      ${CMAKE_SOURCE_DIR}/deploy/debian/${program}/postinst
      ${CMAKE_SOURCE_DIR}/deploy/debian/${program}/prerm
      ${CMAKE_SOURCE_DIR}/deploy/debian/${program}/postrm)
endforeach()

# Manual pages and completions, written by the tool that was just built: target `documents`.
set(documents ${CMAKE_BINARY_DIR}/documents)
set(made ${documents}/hearth.bash ${documents}/_hearth ${documents}/hearth.fish)
set(write_made
    COMMAND hearth completion bash > ${documents}/hearth.bash
    COMMAND hearth completion zsh > ${documents}/_hearth
    COMMAND hearth completion fish > ${documents}/hearth.fish)
foreach(page hearth.1 hearth-router.8 hearth-cachenode.8)
  get_filename_component(program ${page} NAME_WE)
  get_filename_component(section ${page} EXT)
  string(SUBSTRING ${section} 1 1 section)
  list(APPEND write_made COMMAND hearth docs man ${program} > ${documents}/${page}
       COMMAND gzip -9nf ${documents}/${page})
  list(APPEND made ${documents}/${page}.gz)
  install(FILES ${documents}/${page}.gz DESTINATION share/man/man${section} COMPONENT ${program})
endforeach()
file(MAKE_DIRECTORY ${documents})
add_custom_command(OUTPUT ${made} ${write_made} DEPENDS hearth VERBATIM)
add_custom_target(documents DEPENDS ${made})
install(FILES ${documents}/hearth.bash DESTINATION share/bash-completion/completions RENAME hearth
        COMPONENT hearth)
install(FILES ${documents}/_hearth DESTINATION share/zsh/vendor-completions COMPONENT hearth)
install(FILES ${documents}/hearth.fish DESTINATION share/fish/vendor_completions.d COMPONENT hearth)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL hearth hearth-router hearth-cachenode)
set(CPACK_PACKAGE_NAME hearth)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Hearth developers <hearth@example.org>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_HEARTH_PACKAGE_NAME hearth)
set(CPACK_DEBIAN_HEARTH-ROUTER_PACKAGE_NAME hearth-router)
set(CPACK_DEBIAN_HEARTH-CACHENODE_PACKAGE_NAME hearth-cachenode)
set(CPACK_DEBIAN_HEARTH-ROUTER_PACKAGE_SUGGESTS "hearth, redis-server")
set(CPACK_DEBIAN_HEARTH-CACHENODE_PACKAGE_SUGGESTS "hearth, redis-server")
set(CPACK_COMPONENT_HEARTH_DESCRIPTION "Operator's tool of Hearth
 A whole fleet in one process to try, a terminal chat, and the fleet's state:
 status, explain, what-if, drain, replay, benchmarks.")
set(CPACK_COMPONENT_HEARTH-ROUTER_DESCRIPTION "Sticky-session router for chat models
 Brings every turn of a chat to the node that holds its KV cache, in front of
 Hearth's own nodes or of any OpenAI-compatible server.")
set(CPACK_COMPONENT_HEARTH-CACHENODE_DESCRIPTION "Chat model server whose KV cache outlives the turn
 An OpenAI-compatible server with an int8 engine and KV tiers in memory, on
 disk and on its peers.")
include(CPack)
