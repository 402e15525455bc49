(module
  (memory 1)
  (func (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, i32, i32) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32, i32, i64, i64, i64) -> i64 tail
;;     fn0 = colocated u0:4 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i32, v3: i32):
;; @0025                               v4 = iconst.i32 0
;; @0025                               v5 = iconst.i32 0
;; @0025                               v6 = uextend.i64 v1
;; @0025                               v7 = uextend.i64 v2
;; @0025                               v8 = uextend.i64 v3
;; @0025                               v9 = call fn0(v0, v4, v5, v6, v7, v8)  ; v4 = 0, v5 = 0
;; @0029                               return
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
;;   movq %rdx, %rax
;;   movq %rcx, %r9
;;   uninit  %rdx
;;   xorl %edx, %edx
;;   movl %esi, %ecx
;;   movl %eax, %r8d
;;   movq %r9, %rax
;;   movl %eax, %r9d
;;   movq %rdx, %rsi
;;   call    User(userextname0)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
