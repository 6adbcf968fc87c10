# The sources of others, as static position-independent libraries:
#   argosy_nghttp2 argosy_llhttp argosy_zlib argosy_tls argosy_gtest
#
# None of them is kept in this repository. Each comes from the folder that
# -DARGOSY_<NAME>_SOURCE=... names, or else from a source distribution on the Python
# package index, fetched by pip and checked by its hash. A machine with a compiler,
# Python and an index therefore builds everything, and a wheel needs nothing
# installed. They are compiled here rather than by their own build files: a list of
# sources each, no install rules, no options to keep in step.

find_package(Python COMPONENTS Interpreter REQUIRED)

# Sets `variable` to the tree of NAME, looking at ARGOSY_<NAME>_SOURCE first.
function(argosy_source variable name package version sha256)
  string(TOUPPER ${name} upper)
  set(ARGOSY_${upper}_SOURCE "" CACHE PATH "Sources of ${name}, instead of fetching them")
  if(ARGOSY_${upper}_SOURCE)
    set(${variable} ${ARGOSY_${upper}_SOURCE} PARENT_SCOPE)
    return()
  endif()
  cmake_parse_arguments(ARG "" "INSIDE" "ONLY" ${ARGN})
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fetch_sdist.py ${package} ${version} ${sha256}
            --only ${ARG_ONLY}
    OUTPUT_VARIABLE tree ERROR_VARIABLE problem RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed)
    message(FATAL_ERROR "Sources of ${name} could not be fetched with ${Python_EXECUTABLE} -m pip:\n${problem}"
                        "Give pip an index it can reach, or pass -DARGOSY_${upper}_SOURCE=<folder>.")
  endif()
  set(${variable} ${tree}/${ARG_INSIDE} PARENT_SCOPE)
endfunction()

# One foreign static library: our flags for speed, none of our warnings.
function(argosy_foreign name)
  cmake_parse_arguments(ARG "" "" "SOURCES;INCLUDE;DEFINE" ${ARGN})
  add_library(argosy_${name} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
  target_include_directories(argosy_${name} SYSTEM PUBLIC ${ARG_INCLUDE})
  target_compile_definitions(argosy_${name} PRIVATE ${ARG_DEFINE})
  # Optimised in debug builds too: nobody steps through them, and one set of objects serves more builds.
  target_compile_options(argosy_${name} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-w -O2 -g0 -DNDEBUG>)
  set_target_properties(argosy_${name} PROPERTIES C_VISIBILITY_PRESET hidden C_EXTENSIONS ON EXPORT_COMPILE_COMMANDS OFF)
endfunction()

# HTTP/2 framing: nghttp2 1.70.0
argosy_source(nghttp2_dir nghttp2 ngh2 0.3.0 09b995aa65b8a397de652fd7a9b3877d6d1e24c10d2effc36204a3f37aa73440
  ONLY vendor/nghttp2/lib INSIDE vendor/nghttp2)
set(PACKAGE_VERSION 1.70.0)
set(PACKAGE_VERSION_NUM 0x014600)
configure_file(${nghttp2_dir}/lib/includes/nghttp2/nghttp2ver.h.in ${CMAKE_BINARY_DIR}/nghttp2/nghttp2/nghttp2ver.h @ONLY)
file(GLOB nghttp2_sources ${nghttp2_dir}/lib/*.c)
argosy_foreign(nghttp2 SOURCES ${nghttp2_sources}
  INCLUDE ${nghttp2_dir}/lib/includes ${CMAKE_BINARY_DIR}/nghttp2
  DEFINE BUILDING_NGHTTP2 _GNU_SOURCE HAVE_ARPA_INET_H HAVE_NETINET_IN_H HAVE_FCNTL_H HAVE_INTTYPES_H HAVE_LIMITS_H
         HAVE_SYS_SOCKET_H HAVE_SYS_TIME_H HAVE_UNISTD_H HAVE_CLOCK_GETTIME HAVE_DECL_CLOCK_MONOTONIC=1)
target_compile_definitions(argosy_nghttp2 PUBLIC NGHTTP2_STATICLIB)

# HTTP/1 parsing: llhttp 9.4.3
argosy_source(llhttp_dir llhttp httptools 0.9.0 d484ebb7e3a3f3597b0f645fbd1b85633674ca808c1f5ba11c2caf7c66f5c8b6
  ONLY vendor/llhttp INSIDE vendor/llhttp)
file(GLOB llhttp_sources ${llhttp_dir}/src/*.c)
argosy_foreign(llhttp SOURCES ${llhttp_sources} INCLUDE ${llhttp_dir}/include)

# zlib, BoringSSL and GoogleTest all ship inside one source distribution.
set(grpcio grpcio 1.85.1 5f530287d5de5f7f66089ead81de44f6787162944dab3922efa65dfdff108a1d)

# gzip and deflate. Debian's own libz.a is not position independent.
argosy_source(zlib_dir zlib ${grpcio} ONLY third_party/zlib INSIDE third_party/zlib)
set(zlib_sources adler32 compress crc32 deflate infback inffast inflate inftrees trees uncompr zutil)
list(TRANSFORM zlib_sources REPLACE "(.+)" "${zlib_dir}/\\1.c")
argosy_foreign(zlib SOURCES ${zlib_sources} INCLUDE ${zlib_dir} DEFINE HAVE_UNISTD_H HAVE_STDARG_H)

include(${CMAKE_CURRENT_LIST_DIR}/third_party_tls.cmake)

if(ARGOSY_TESTS)
  argosy_source(gtest_dir gtest ${grpcio} ONLY third_party/boringssl-with-bazel/third_party/googletest
    INSIDE third_party/boringssl-with-bazel/third_party/googletest)
  argosy_foreign(gtest
    SOURCES ${gtest_dir}/googletest/src/gtest-all.cc ${gtest_dir}/googlemock/src/gmock-all.cc
            ${gtest_dir}/googlemock/src/gmock_main.cc
    INCLUDE ${gtest_dir}/googletest/include ${gtest_dir}/googlemock/include)
  target_include_directories(argosy_gtest PRIVATE ${gtest_dir}/googletest ${gtest_dir}/googlemock)
  target_link_libraries(argosy_gtest PUBLIC Threads::Threads)
endif()
