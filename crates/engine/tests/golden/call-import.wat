(module
  (import "env" "f" (func $f (param i32) (result i64)))
  (func (param i32) (result i64) (call $f (local.get 0))))

;; Expected:
;; function 1
;; function u0:0(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i64 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+48
;;                                     v3 = load.i64 notrap aligned readonly can_move v0+40
;; @0026                               v5 = call_indirect sig0, v3(v4, v1)
;; @0028                               return v5
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x10, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;; block0:
;;   movq 0x28(%rdi), %r8
;;   movq 0x30(%rdi), %rdi
;;   call    *%r8
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
