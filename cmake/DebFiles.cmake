# Run by cpack between installing and packing: what Debian's policy asks for, and an installation elsewhere does not have.
set(packages runtime ${CPACK_DEBIAN_RUNTIME_PACKAGE_NAME} library ${CPACK_DEBIAN_LIBRARY_PACKAGE_NAME}
  development ${CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME})
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
while(packages)
  list(POP_FRONT packages component package)
  set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component}/usr)
  if(NOT EXISTS ${root})
    continue()
  endif()
  set(doc ${root}/share/doc/${package})
  file(COPY ${CPACK_HUNCH_DEB_DIR}/copyright DESTINATION ${doc} FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  file(REMOVE ${doc}/LICENSE)  # which copyright names; Debian has the text
  file(WRITE ${doc}/changelog "${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n\n"
    "  * See CHANGELOG.md in the package hunch.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  file(GLOB compressed ${doc}/changelog ${root}/share/man/man1/*.1)
  execute_process(COMMAND gzip -9nf ${compressed} COMMAND_ERROR_IS_FATAL ANY)
endwhile()
