(module
  (import "env" "g" (global $imported (mut i32)))
  (global $own (mut i64) (i64.const 1))
  (func (param i32) (result i64)
    (global.set $imported (local.get 0))
    (global.get $own)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v3 = load.i64 notrap aligned readonly can_move v0+48
;; @002f                               store notrap aligned region2 v1, v3
;; @0031                               v4 = load.i64 notrap aligned region2 v0+32
;; @0033                               return v4
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x30(%rdi), %r8
;;   movl %esi, (%r8)
;;   movq 0x20(%rdi), %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
