(module
  (type $t (func (param i32) (result i32)))
  (func (param (ref null $t)) (result i32)
    (call_ref $t (i32.const 7) (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i64) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i64):
;; @001f                               v3 = iconst.i32 7
;; @0023                               trapz v1, user12
;; @0023                               v4 = load.i64 notrap aligned readonly v1
;; @0023                               v5 = load.i64 notrap aligned readonly v1+16
;; @0023                               v6 = call_indirect sig0, v4(v5, v3)  ; v3 = 7
;; @0025                               return v6
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
;;   testq %rsi, %rsi
;;   jz #trap=user12
;;   movq (%rsi), %r8
;;   movq 0x10(%rsi), %rdi
;;   movl $0x7, %esi
;;   call    *%r8
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
