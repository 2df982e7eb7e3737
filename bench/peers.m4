dnl The peers of bench/bench, found one by one; none is needed. Without a C++17 compiler there is no bench/bench, and all
dnl else is built as ever.

dnl HT_PEER(NAME, FILE, HEADER, DEFAULT LIBS, [PKG-CONFIG MODULES]): add engine_FILE.cpp if a program with that header links.
AC_DEFUN([HT_PEER], [
HT_PEER_LIBS="$4"
m4_ifval([$5], [AS_IF([$PKG_CONFIG --exists $5 2>/dev/null],
    [HT_PEER_LIBS=`$PKG_CONFIG --libs $5 | tr ' ' '\n' | grep -v '^-lstdc++$\|^-l\(m\|c\|rt\|pthread\)$' | tr '\n' ' '`])])
AC_MSG_CHECKING([for $1])
ht_save_LIBS=$LIBS
LIBS="$HT_PEER_LIBS $LIBS"
ht_found=no
AS_IF([test "x$have_cxx17:$with_peers" = xyes:yes],
    [AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <$3>]], [])], [ht_found=yes])])
LIBS=$ht_save_LIBS
AC_MSG_RESULT([$ht_found])
AM_CONDITIONAL([PEER_]m4_toupper([$2]), [test $ht_found = yes])
AS_IF([test $ht_found = yes],
    [AS_VAR_APPEND([PEER_LIBS], [" $HT_PEER_LIBS"])
     AS_VAR_APPEND([peers_found], [" $2"])])
])

AC_DEFUN([HT_BENCH], [
AC_ARG_WITH([peers], [AS_HELP_STRING([--without-peers], [benchmarks of this library alone])], [], [with_peers=yes])
AC_LANG_PUSH([C++])
ht_save_CXXFLAGS=$CXXFLAGS
CXXFLAGS="$CXXFLAGS -std=c++17 -pthread"
AC_MSG_CHECKING([for a C++17 compiler])
have_cxx17=no
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <filesystem>
#include <string_view>]], [[return std::filesystem::exists(std::string(std::string_view("")));]])], [have_cxx17=yes])
AC_MSG_RESULT([$have_cxx17])
PEER_LIBS= peers_found=
HT_PEER([RocksDB], [rocksdb], [rocksdb/db.h], [-lrocksdb])
HT_PEER([LevelDB], [leveldb], [leveldb/db.h], [-lleveldb])
HT_PEER([Kyoto Cabinet], [kyoto], [kchashdb.h], [-lkyotocabinet])
HT_PEER([Tkrzw], [tkrzw], [tkrzw_dbm_hash.h], [-ltkrzw])
HT_PEER([WiredTiger], [wiredtiger], [wiredtiger.h], [-lwiredtiger])
HT_PEER([SQLite], [sqlite], [sqlite3.h], [-lsqlite3])
HT_PEER([Abseil], [absl], [absl/container/flat_hash_map.h], [], [absl_flat_hash_map absl_hash])
HT_PEER([libcuckoo], [cuckoo], [libcuckoo/cuckoohash_map.hh], [])
CXXFLAGS=$ht_save_CXXFLAGS
AC_LANG_POP([C++])
AM_CONDITIONAL([HAVE_CXX17], [test $have_cxx17 = yes])
AC_SUBST([PEER_LIBS])
])
