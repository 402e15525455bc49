(module
  (memory 1)
  (func (param i32) (result i32) (i32.load offset=16 (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+32
;; @0020                               v3 = uextend.i64 v1
;; @0020                               v5 = iadd v4, v3
;; @0020                               v6 = load.i32 little region0 v5+16
;; @0023                               return v6
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq %rsi, %r8
;;   movq 0x20(%rdi), %rsi
;;   movq %r8, %rdi
;;   movl %edi, %edi
;;   movl 0x10(%rsi, %rdi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
